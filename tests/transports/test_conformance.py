"""Every stream keeps every promise: memory, TCP, and SSH channels over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.support.upstream import upstream
from wraith.testing import PROMISES, Loopback, MakePair
from wraith.transports.base import Acceptor, PeerInfo, ProtocolFactory, Transport
from wraith.transports.memory import MemoryAcceptor, MemoryTransport
from wraith.transports.reaching import dial_through
from wraith.transports.tcp import TcpAcceptor, TcpTransport
from wraith.values.address import TcpDestination, parse_host_port, parse_listen
from wraith.values.proxy_url import ProxyUrl

Maker = Callable[[AsyncExitStack], Awaitable[MakePair]]


async def pairs_of(stack: AsyncExitStack, acceptor: Acceptor, transport: Transport) -> MakePair:
    accepted: list[asyncio.Protocol] = []

    def accept(_info: PeerInfo) -> asyncio.Protocol:
        return accepted.pop()

    await acceptor.start(accept)
    stack.push_async_callback(acceptor.close)

    async def make(
        left: asyncio.Protocol, right: asyncio.Protocol
    ) -> tuple[asyncio.Transport, asyncio.Transport]:
        accepted.append(right)
        stream = await transport.connect(lambda: left, timeout=5)
        while not hasattr(right, "stream"):
            await asyncio.sleep(0)
        return stream, right.stream

    return make


async def memory(stack: AsyncExitStack) -> MakePair:
    acceptor = MemoryAcceptor()
    return await pairs_of(stack, acceptor, MemoryTransport(acceptor))


class TcpToAcceptor:
    """Connects to whatever port the acceptor was given."""

    name = server = "tcp"

    def __init__(self, acceptor: TcpAcceptor) -> None:
        self._acceptor = acceptor

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        address = self._acceptor.addresses[0].removeprefix("tcp://")
        return await TcpTransport(parse_host_port(address)).connect(factory, timeout)


class ProxiedToAcceptor(TcpToAcceptor):
    """The same, by a proxy."""

    def __init__(self, acceptor: TcpAcceptor, proxy: ProxyUrl) -> None:
        super().__init__(acceptor)
        self._proxy = proxy

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        address = parse_host_port(self._acceptor.addresses[0].removeprefix("tcp://"))
        return await TcpTransport(address, dial_through(self._proxy)).connect(factory, timeout)


def tcp_through(language: str) -> Maker:
    async def proxied(stack: AsyncExitStack) -> MakePair:
        proxy = await stack.enter_async_context(upstream())
        acceptor = TcpAcceptor(parse_listen("127.0.0.1:0"))
        return await pairs_of(stack, acceptor, ProxiedToAcceptor(acceptor, proxy.url(language)))

    proxied.__name__ = f"tcp_through_{language}"
    return proxied


async def tcp(stack: AsyncExitStack) -> MakePair:
    acceptor = TcpAcceptor(parse_listen("127.0.0.1:0"))
    return await pairs_of(stack, acceptor, TcpToAcceptor(acceptor))


@asynccontextmanager
async def accepting_socket(
    protocol: asyncio.Protocol,
) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def ssh_channel(stack: AsyncExitStack) -> MakePair:
    """Our side is a channel; the far side is the socket that the server connected it to."""
    tunnel = await stack.enter_async_context(Loopback())

    async def make(
        left: asyncio.Protocol, right: asyncio.Protocol
    ) -> tuple[asyncio.Transport, asyncio.Transport]:
        port = await stack.enter_async_context(accepting_socket(right))
        stream = await tunnel.client._manager.dial(TcpDestination("127.0.0.1", port), left)
        while not hasattr(right, "stream"):
            await asyncio.sleep(0)
        return stream, right.stream

    return make


async def ssh_channel_reversed(stack: AsyncExitStack) -> MakePair:
    """The same, seen from the socket."""
    make_channel = await ssh_channel(stack)

    async def make(
        left: asyncio.Protocol, right: asyncio.Protocol
    ) -> tuple[asyncio.Transport, asyncio.Transport]:
        b, a = await make_channel(right, left)
        return a, b

    return make


MAKERS = [
    memory,
    tcp,
    tcp_through("socks5"),
    tcp_through("http"),
    ssh_channel,
    ssh_channel_reversed,
]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_every_stream_keeps_every_promise(
    promise: Callable[[MakePair], Awaitable[None]], maker: Maker
) -> None:
    async with AsyncExitStack() as stack:
        await promise(await maker(stack))
