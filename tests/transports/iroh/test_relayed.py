"""By a relay: an id is enough, and nobody else need know where anybody is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.iroh_relay import Relay
from wraith.testing import Recorder
from wraith.transports.iroh.accepting import IrohAcceptor
from wraith.transports.iroh.connecting import IrohTransport
from wraith.values.address import parse_listen
from wraith.values.iroh_peer import IrohPeer, RelayChoice, parse_relay, parse_ticket


@pytest.fixture
async def relay() -> AsyncIterator[tuple[Relay, RelayChoice]]:
    made = Relay()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield made, parse_relay(f"http://127.0.0.1:{port}")
    server.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("by", ["id", "ticket"])
async def test_a_peer_is_reached_through_a_relay(
    relay: tuple[Relay, RelayChoice], tmp_path: Path, by: str
) -> None:
    counted, choice = relay
    right = Recorder()
    acceptor = IrohAcceptor([parse_listen("iroh://127.0.0.1:0")], choice, tmp_path / "key")
    await acceptor.start(lambda _info: right)
    ticket = parse_ticket(acceptor.ticket)
    assert ticket.relay == str(choice)
    peer = IrohPeer(ticket.id, relay=ticket.relay if by == "ticket" else None)
    transport = IrohTransport(peer, choice)
    left = Recorder()
    stream = await transport.connect(lambda: left, 10)
    stream.write(b"question")
    assert await right.until_received(8) == b"question"
    assert counted.datagrams > 0
    stream.abort()
    await left.until_lost()
    await transport.close()
    await right.until_lost()
    await acceptor.close()
    await acceptor.wait_closed()
