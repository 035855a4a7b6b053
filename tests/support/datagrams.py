"""Both ends of an association: a program at the local port, and destinations that answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self, cast

from wraith.client.connect import Client
from wraith.protocol.datagrams import encode_address, split

PATIENCE = 10.0
A_WHILE = 0.2
"""Seconds in which nothing must come."""

Sockaddr = tuple[str, int]


class Ear(asyncio.DatagramProtocol):
    """A UDP socket that keeps what it gets, and may send it back."""

    def __init__(self, echo: bool = False) -> None:
        self._echo = echo
        self.heard: asyncio.Queue[tuple[bytes, Sockaddr]] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # which not all loops say

    def datagram_received(self, data: bytes, addr: Sockaddr) -> None:
        self.heard.put_nowait((data, addr))
        if self._echo:
            self.transport.sendto(data, addr)

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])

    async def next(self) -> tuple[bytes, Sockaddr]:
        async with asyncio.timeout(PATIENCE):
            return await self.heard.get()

    async def hears_nothing(self) -> None:
        await asyncio.sleep(A_WHILE)
        assert self.heard.empty()


@asynccontextmanager
async def ear(*, echo: bool = False, host: str = "127.0.0.1") -> AsyncIterator[Ear]:
    """Such a socket, at a free port."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Ear(echo), local_addr=(host, 0)
    )
    try:
        yield protocol
    finally:
        transport.close()
        await asyncio.sleep(0)


class Program:
    """A SOCKS5 client with an association; an async context manager.

    `named` is the port that it says it will send from; None for one that it does not know.
    """

    def __init__(self, client: Client, *, host: str = "127.0.0.1", knows_port: bool = False):
        self._proxy = client.socks5_addresses[0]
        self._host = host
        self._knows_port = knows_port
        self.relay: Sockaddr

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, self.ear = await loop.create_datagram_endpoint(
            Ear, local_addr=(self._host, 0)
        )
        self.reader, self.writer = await asyncio.open_connection(self._proxy.host, self._proxy.port)
        try:
            code = await self._ask()
            assert code == 0, f"reply {code}"
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _ask(self) -> int:
        port = self.ear.port if self._knows_port else 0
        self.writer.write(b"\5\1\0" + b"\5\3\0" + encode_address("0.0.0.0", port))
        async with asyncio.timeout(PATIENCE):
            answer = await self.reader.readexactly(2 + 4)
            bound = await self.reader.readexactly(4 + 2)
        self.relay = socket.inet_ntoa(bound[:4]), int.from_bytes(bound[4:], "big")
        return answer[3]

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()
        self.writer.close()
        await asyncio.sleep(0)

    def send(self, payload: bytes, host: str, port: int, *, header: bytes = bytes(3)) -> None:
        self._transport.sendto(header + encode_address(host, port) + payload, self.relay)

    async def receive(self) -> tuple[bytes, bytes]:
        """The address of the next datagram, as it is written, and its payload."""
        datagram, sender = await self.ear.next()
        assert sender == self.relay
        assert datagram[:3] == bytes(3)
        return split(datagram[3:])

    async def asks(self, payload: bytes, host: str, port: int) -> bytes:
        """Send something, and return the payload that comes back from the same partner."""
        self.send(payload, host, port)
        address, answer = await self.receive()
        assert address == encode_address(host, port)
        return answer

    async def until_ended(self) -> None:
        """Wait until the control connection is reset."""
        async with asyncio.timeout(PATIENCE):
            try:
                assert await self.reader.read() == b""
            except ConnectionResetError:
                return
            raise AssertionError("it ended without a reset")


async def refusal(client: Client) -> int:
    """The reply to a UDP ASSOCIATE that is not granted."""
    program = Program(client)
    try:
        async with program:
            pass
    except AssertionError as error:
        return int(str(error).removeprefix("reply "))
    raise AssertionError("it was granted")
