"""The journeys that every path and every event loop must carry: each takes a tunnel and proves one.

`tunnel_over(link)` makes the tunnel: in memory; over TCP, which the hot path reads and writes by
itself; or inside TLS, which fills the hot path's own buffers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from wraith.streams.relay import LINGER_ZERO
from wraith.testing import Loopback
from wraith.values.address import HostPort

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Journey = Callable[[Loopback], Awaitable[None]]

LINKS = ("memory", "tcp", "tls", "iroh")


class TcpLoopback(Loopback):
    """The same tunnel over a TCP connection on loopback."""

    transport = "tcp"

    def __init__(self, *, serve: dict[str, Any], connect: dict[str, Any]) -> None:
        # Only a transport that has a socket can go through a proxy.
        self._proxy = connect.get("proxy")
        connect = {name: value for name, value in connect.items() if name != "proxy"}
        super().__init__(serve={"listen": ["127.0.0.1:0"], **serve}, connect=connect)

    def how(self) -> dict[str, Any]:
        """The client's options that lead to the server."""
        address = self.server.listen_addresses[0].removeprefix(f"{self.transport}://")
        return {"transport": self.transport, "server": address}

    async def __aenter__(self) -> Loopback:  # type: ignore[override]
        from wraith.client.connect import connect
        from wraith.server.serve import serve

        self.server = serve(self.serve_options)
        await self.server.start()
        self.client = connect(
            dataclasses.replace(
                self.connect_options,
                proxy=self._proxy,
                host_key=self.server.host_key_fingerprint,
                **self.how(),
            )
        )
        try:
            await self.client.start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self


class TlsLoopback(TcpLoopback):
    """The same inside TLS, with a certificate of the server's own."""

    transport = "tls"

    def __init__(self, *, serve: dict[str, Any], connect: dict[str, Any]) -> None:
        own = {"listen": ["tls://127.0.0.1:0"], "tls_self_signed": True}
        super().__init__(serve={**own, **serve}, connect=connect)

    def how(self) -> dict[str, Any]:
        return {**super().how(), "tls_pin": self.server.notes["tls pin"]}


class IrohLoopback(TcpLoopback):
    """The same over iroh, without a relay."""

    transport = "iroh"

    def __init__(self, *, serve: dict[str, Any], connect: dict[str, Any]) -> None:
        own = {"listen": ["iroh://127.0.0.1:0"], "iroh_relay": "disabled"}
        super().__init__(serve={**own, **serve}, connect=connect)

    def how(self) -> dict[str, Any]:
        ticket = self.server.invitations[0][3]
        return {"transport": "iroh", "peer": ticket, "iroh_relay": "disabled"}


MAKERS = {"tcp": TcpLoopback, "tls": TlsLoopback, "iroh": IrohLoopback}


def tunnel_over(link: str, *, serve: dict[str, Any] | None = None, **connect: Any) -> Loopback:
    """A tunnel over this kind of link, with a SOCKS5 port."""
    connect = {"socks5": "127.0.0.1:0", **connect}
    if link == "memory":
        return Loopback(serve=serve, connect=connect)
    return MAKERS[link](serve=serve or {}, connect=connect)


@asynccontextmanager
async def origin(handler: Handler) -> AsyncIterator[int]:
    """A server on loopback; its port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads to the end, then answers with the digest of what came: needs a half-close."""
    whole = hashlib.sha256()
    while data := await reader.read(65536):
        whole.update(data)
    writer.write(whole.digest())
    writer.close()


async def finish(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def through_socks(
    tunnel: Loopback, port: int, early: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection through the SOCKS5 port, which takes the short way where there is one."""
    bound = tunnel.client.socks5_addresses[0]
    reader, writer = await asyncio.open_connection(bound.host, bound.port)
    request = b"\5\1\0" + b"\5\1\0\1" + bytes((127, 0, 0, 1)) + port.to_bytes(2, "big")
    writer.write(request + early)
    answer = await reader.readexactly(2 + 10)
    assert answer[:4] == b"\5\0\5\0", answer
    return reader, writer


# The journeys


async def bytes_both_ways(tunnel: Loopback) -> None:
    async with origin(echo) as port:
        for host in ("127.0.0.1", "localhost"):
            reader, writer = await tunnel.client.open_connection(host, port)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            await finish(writer)


async def a_large_upload_and_an_answer_after_its_end(tunnel: Loopback) -> None:
    payload = os.urandom(3 * 1024 * 1024 + 7)
    async with origin(digest) as port:
        reader, writer = await tunnel.client.open_connection("127.0.0.1", port)
        writer.write(payload)
        writer.write_eof()
        assert await reader.read() == hashlib.sha256(payload).digest()
        await finish(writer)


async def a_large_transfer_both_ways_through_socks(tunnel: Loopback) -> None:
    payload = os.urandom(3 * 1024 * 1024 + 7)
    async with origin(echo) as port:
        reader, writer = await through_socks(tunnel, port)

        async def send() -> None:
            writer.write(payload)
            await writer.drain()
            writer.write_eof()

        _, received = await asyncio.gather(send(), reader.read())
        assert received == payload
        await finish(writer)


async def early_bytes_through_socks(tunnel: Loopback) -> None:
    async with origin(digest) as port:
        reader, writer = await through_socks(tunnel, port, early=b"not " * 1000)
        writer.write_eof()
        assert await reader.read() == hashlib.sha256(b"not " * 1000).digest()
        await finish(writer)


async def many_at_once(tunnel: Loopback) -> None:
    async def one(n: int, port: int) -> None:
        opening = through_socks(tunnel, port) if n % 2 else plain(port)
        reader, writer = await opening
        payload = bytes([n]) * 40_000
        writer.write(payload)
        writer.write_eof()
        assert await reader.read() == payload
        await finish(writer)

    async def plain(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await tunnel.client.open_connection("127.0.0.1", port)

    async with origin(echo) as port:
        await asyncio.gather(*(one(n, port) for n in range(30)))


async def a_remote_forward(tunnel: Loopback) -> None:
    async with origin(echo) as port:
        forward = await tunnel.client.start_remote_forward(f"0:127.0.0.1:{port}")
        assert isinstance(forward.bound, HostPort)
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.bound.port)
        writer.write(b"x" * 300_000)
        writer.write_eof()
        assert await reader.read() == b"x" * 300_000
        await finish(writer)
        await tunnel.client.cancel_remote_forward(forward)


async def a_reset_stays_a_reset(tunnel: Loopback) -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"partial")
        await reader.readexactly(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        writer.transport.abort()

    async with origin(resets) as port:
        for opening in (
            tunnel.client.open_connection("127.0.0.1", port),
            through_socks(tunnel, port),
        ):
            reader, writer = await opening
            assert await reader.readexactly(7) == b"partial"
            writer.write(b"!")
            try:
                await reader.read()
            except ConnectionResetError:
                pass
            else:
                raise AssertionError("a transfer that was cut short looked complete")
            writer.close()


async def the_echo_service(tunnel: Loopback) -> None:
    reader, writer = await tunnel.client.open_connection("wraith-echo", 0)
    writer.write(b"are you there")
    writer.write_eof()
    assert await reader.read() == b"are you there"
    await finish(writer)


JOURNEYS: tuple[Journey, ...] = (
    bytes_both_ways,
    a_large_upload_and_an_answer_after_its_end,
    a_large_transfer_both_ways_through_socks,
    early_bytes_through_socks,
    many_at_once,
    a_remote_forward,
    a_reset_stays_a_reset,
    the_echo_service,
)
