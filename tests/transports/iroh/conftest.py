"""Endpoints on loopback, without relays, for every test here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from wraith.testing import Recorder
from wraith.transports.base import PeerInfo
from wraith.transports.iroh.accepting import IrohAcceptor
from wraith.transports.iroh.connecting import IrohTransport
from wraith.transports.iroh.stream import IrohStream
from wraith.values.address import parse_listen
from wraith.values.iroh_peer import NO_RELAY, parse_ticket


class Server:
    """An acceptor with a recorder for each peer that comes."""

    def __init__(self, folder: Path) -> None:
        listen = [parse_listen("iroh://127.0.0.1:0")]
        self.acceptor = IrohAcceptor(listen, NO_RELAY, folder / "iroh.key")
        self.recorders: list[Recorder] = []
        self.came: list[PeerInfo] = []
        self.choose: Callable[[], asyncio.Protocol | None] = self._recorder

    def _recorder(self) -> asyncio.Protocol:
        self.recorders.append(Recorder())
        return self.recorders[-1]

    def accept(self, info: PeerInfo) -> asyncio.Protocol | None:
        self.came.append(info)
        return self.choose()

    async def peer(self, number: int = 0) -> Recorder:
        """The recorder of this peer, once it has come."""
        async with asyncio.timeout(5):
            while len(self.recorders) <= number:
                await asyncio.sleep(0.005)
        return self.recorders[number]

    @property
    def port(self) -> int:
        return int(self.acceptor.addresses[0].rpartition(":")[2])


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    await made.acceptor.start(made.accept)
    yield made
    await made.acceptor.close()
    await made.acceptor.wait_closed()


@pytest.fixture
async def transport(server: Server) -> AsyncIterator[IrohTransport]:
    made = IrohTransport(parse_ticket(server.acceptor.ticket), NO_RELAY)
    yield made
    await made.close()


class Pair:
    """Two streams joined to each other, and who watches them."""

    def __init__(self, left: Recorder, right: Recorder) -> None:
        self.left, self.right = left, right

    @property
    def here(self) -> IrohStream:
        assert isinstance(self.left.stream, IrohStream)
        return self.left.stream

    @property
    def there(self) -> IrohStream:
        assert isinstance(self.right.stream, IrohStream)
        return self.right.stream


@pytest.fixture
async def pair(server: Server, transport: IrohTransport) -> Pair:
    left = Recorder()
    stream = await transport.connect(lambda: left, 5)
    right = await server.peer()
    stream.write(b"h")  # a stream is seen once its first byte has come
    await right.until_received(1)
    right.received.clear()
    return Pair(left, right)
