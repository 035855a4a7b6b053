"""Every stream keeps every promise: memory, TCP and TLS, with and without a proxy, SSH channels."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest

from tests.support.upstream import upstream
from wraith.server.options import ServeOptions
from wraith.testing import PROMISES, Loopback, MakePair
from wraith.transports.base import Acceptor, PeerInfo, ProtocolFactory, Transport
from wraith.transports.iroh import stream
from wraith.transports.iroh.accepting import IrohAcceptor
from wraith.transports.iroh.calls import read as plain_read
from wraith.transports.iroh.calls import write as plain_write
from wraith.transports.iroh.connecting import IrohTransport
from wraith.transports.memory import MemoryAcceptor, MemoryTransport
from wraith.transports.reaching import Dial, dial_directly, dial_through
from wraith.transports.stealth import ProvingTransport
from wraith.transports.tcp import TcpTransport
from wraith.transports.tls import TlsTransport
from wraith.transports.tls_trust import Trust
from wraith.values.address import TcpDestination, parse_host_port, parse_listen
from wraith.values.iroh_peer import NO_RELAY, parse_ticket

SECRET = b"a secret of more than sixteen bytes"

Maker = Callable[[AsyncExitStack], Awaitable[MakePair]]


async def pairs_of(stack: AsyncExitStack, acceptor: Acceptor, transport: Transport) -> MakePair:
    accepted: list[asyncio.Protocol] = []

    def accept(_info: PeerInfo) -> asyncio.Protocol:
        return accepted.pop()

    await acceptor.start(accept)
    stack.push_async_callback(acceptor.wait_closed)
    stack.push_async_callback(acceptor.close)
    stack.push_async_callback(transport.close)

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


class ToAcceptor:
    """Connects to whatever port the acceptor was given, by TCP or TLS."""

    name = server = "there"

    def __init__(self, acceptor: Acceptor, dial: Dial) -> None:
        self._acceptor = acceptor
        self._dial = dial

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        scheme, _, text = self._acceptor.addresses[0].partition("://")
        address = parse_host_port(text)
        if scheme == "tcp":
            return await TcpTransport(address, self._dial).connect(factory, timeout)
        trust = Trust("gw.example.com", pin=self._acceptor.notes["tls pin"])
        return await TlsTransport(address, trust, self._dial).connect(factory, timeout)

    async def close(self) -> None:
        """Nothing is shared."""


def over(scheme: str, proxy: str = "") -> Maker:
    """Pairs over this transport, directly or through a proxy that speaks this language."""

    async def make(stack: AsyncExitStack) -> MakePair:
        dial: Dial = dial_directly
        if proxy:
            dial = dial_through((await stack.enter_async_context(upstream())).url(proxy))
        options = ServeOptions(listen=[f"{scheme}://127.0.0.1:0"], tls_self_signed=scheme == "tls")
        (acceptor,) = options.acceptors()
        return await pairs_of(stack, acceptor, ToAcceptor(acceptor, dial))

    make.__name__ = f"{scheme}_through_{proxy}" if proxy else scheme
    return make


async def tls_behind_a_front_door(stack: AsyncExitStack) -> MakePair:
    """As a hidden server takes a connection over, once the secret is proved.

    It sends tickets, as nginx does. A client that closes before it has read them resets the
    connection, and what it wrote may be lost; so here they are read first. SSH always reads.
    """
    options = ServeOptions(
        listen=["tls://127.0.0.1:0"], tls_self_signed=True, stealth_secret=SECRET
    )
    (acceptor,) = options.acceptors()
    transport = ProvingTransport(ToAcceptor(acceptor, dial_directly), SECRET)
    make_at_once = await pairs_of(stack, acceptor, transport)

    async def make(
        left: asyncio.Protocol, right: asyncio.Protocol
    ) -> tuple[asyncio.Transport, asyncio.Transport]:
        pair = await make_at_once(left, right)
        await asyncio.sleep(0.02)
        return pair

    return make


class ByTicket:
    """Connects by the ticket that an acceptor prints."""

    name = server = "iroh"

    def __init__(self, acceptor: IrohAcceptor) -> None:
        self._acceptor = acceptor
        self._transport: IrohTransport | None = None

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        if self._transport is None:
            self._transport = IrohTransport(parse_ticket(self._acceptor.ticket), NO_RELAY)
        return await self._transport.connect(factory, timeout)

    async def close(self) -> None:
        if self._transport is not None:
            await self._transport.close()


async def iroh(stack: AsyncExitStack) -> MakePair:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    acceptor = IrohAcceptor([parse_listen("iroh://127.0.0.1:0")], NO_RELAY, Path(folder) / "key")
    return await pairs_of(stack, acceptor, ByTicket(acceptor))


async def iroh_by_plain_calls(stack: AsyncExitStack) -> MakePair:
    """As with a binding whose private names have changed."""
    calls = (plain_read, plain_write)
    stack.enter_context(mock.patch.object(stream, "fastest", return_value=calls))
    return await iroh(stack)


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
    over("tcp"),
    over("tcp", "socks5"),
    over("tcp", "http"),
    over("tls"),
    over("tls", "socks5"),
    over("tls", "http"),
    tls_behind_a_front_door,
    iroh,
    iroh_by_plain_calls,
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
