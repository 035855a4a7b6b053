"""Proxies inside the test: a true one, and ones that do whatever the story tells them.

The true one is our own local port in front of a direct dialer, so it speaks SOCKS5 and HTTP alike.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from wraith.client.local_port import HANDSHAKE_TIMEOUT, Handshakes, LocalPortConnection
from wraith.dialing.base import Dialer
from wraith.dialing.direct import DirectDialer
from wraith.errors import ChannelRefused, Refusal
from wraith.streams.accepting import SocketAcceptor
from wraith.streams.deadlines import Deadlines
from wraith.streams.listening import listen
from wraith.streams.tasks import TaskSet
from wraith.values.address import Destination, HostPort, TcpDestination
from wraith.values.credentials import Credentials
from wraith.values.proxy_url import ProxyUrl


@dataclass
class Upstream:
    """A true proxy, as both of its languages would name it, and what it was asked for."""

    address: HostPort
    asked: list[TcpDestination] = field(default_factory=list)

    def url(self, scheme: str, credentials: Credentials | None = None) -> ProxyUrl:
        return ProxyUrl(scheme, self.address, credentials)


class Names(DirectDialer):
    """Resolves like a network of its own: only it knows the names that it was given."""

    def __init__(self, upstream: Upstream, names: dict[str, str], refuses: Refusal | None) -> None:
        super().__init__()
        self._upstream, self._names, self._refuses = upstream, names, refuses

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        assert isinstance(destination, TcpDestination)
        self._upstream.asked.append(destination)
        if self._refuses is not None:
            raise ChannelRefused(self._refuses)
        host = self._names.get(destination.host, destination.host)
        return await super().dial(TcpDestination(host, destination.port), protocol)


@asynccontextmanager
async def upstream(
    *,
    credentials: Credentials | None = None,
    names: dict[str, str] | None = None,
    refuses: Refusal | None = None,
) -> AsyncIterator[Upstream]:
    """A proxy on loopback that may know names, demand credentials, or refuse everything."""
    tasks, handshakes = TaskSet("upstream"), _handshakes()
    proxy = Upstream(HostPort("", 0))
    dialer: Dialer = Names(proxy, names or {}, refuses)
    listener = await listen(
        HostPort("127.0.0.1", 0),
        lambda: LocalPortConnection(dialer, tasks, credentials, None, handshakes),
        hint="",
    )
    address = listener.addresses[0]
    assert isinstance(address, HostPort)
    proxy.address = address
    for server in listener._servers:
        if isinstance(server, SocketAcceptor):
            # The kernel lets the buffer of a quick reader grow to tens of megabytes, and a promise
            # of bounded memory would be about the kernel. Accepted sockets inherit this.
            server._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
    try:
        yield proxy
    finally:
        listener.close()
        handshakes.close()
        await tasks.close()


def _handshakes() -> Handshakes:
    return Deadlines(HANDSHAKE_TIMEOUT)


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def behaving(behaviour: Behaviour) -> AsyncIterator[HostPort]:
    """Something on loopback that treats each connection in this way, and then ends it."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await behaviour(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield HostPort("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def says(*messages: bytes) -> Behaviour:
    """Waits for whatever the other side says before each message."""

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for message in messages:
            assert await reader.read(4096)
            writer.write(message)
            await writer.drain()

    return behaviour


def dribbles(*messages: bytes) -> Behaviour:
    """As `says`, each byte in a segment of its own."""

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for message in messages:
            assert await reader.read(4096)
            for number in message:
                writer.write(bytes([number]))
                await asyncio.sleep(0.001)

    return behaviour


async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Listens for ever."""
    while await reader.read(4096):
        pass
