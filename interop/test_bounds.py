"""What is bounded stays bounded: memory beside readers that do not read, and idle channels."""

from __future__ import annotations

import socket
import statistics
import time
from contextlib import ExitStack

import pytest

from interop.peers import socks
from interop.peers.origins import Echo, Origin
from interop.peers.roles import Pair, ServerAsk
from interop.peers.stage import Stage, Tunnel
from interop.peers.transfer import MEGABYTE, echo, send_blocks

pytestmark = pytest.mark.pairs(client="wraith", server="wraith")

STALLED = 300 * MEGABYTE
IDLE = 3000


class Flood(Origin):
    """Sends much more than anybody reads."""

    def serve(self, stream: socket.socket) -> None:
        send_blocks(stream, STALLED)


class Host(Origin):
    """Takes connections and does nothing with them; one thread for all."""

    def __init__(self) -> None:
        self.guests: list[socket.socket] = []
        super().__init__()

    def _attend(self, stream: socket.socket) -> None:
        self.guests.append(stream)

    def serve(self, stream: socket.socket) -> None:
        raise AssertionError("nobody is served here")


def _memory(tunnel: Tunnel) -> list[int]:
    """KiB at the client and at the server."""
    return [side.process.holdings().memory for side in (tunnel.client, tunnel.server)]


def _grown(tunnel: Tunnel, before: list[int]) -> int:
    return max(now - then for now, then in zip(_memory(tunnel), before, strict=True))


@pytest.mark.timeout(120)
def test_four_unread_floods_beside_a_live_connection(
    stage: Stage, pair: Pair, far_echo: Echo
) -> None:
    tunnel = stage.tunnel(pair)
    flood = stage.enter(Flood())
    live = stage.enter(socks.connect(tunnel.client.socks, far_echo.address))
    echo(live)
    before = _memory(tunnel)
    for _ in range(4):
        stage.enter(socks.connect(tunnel.client.socks, flood.address))
    answers, grown = [], 0
    ends = time.monotonic() + 3
    while time.monotonic() < ends:
        began = time.monotonic()
        echo(live)
        answers.append(time.monotonic() - began)
        grown = max(grown, _grown(tunnel, before))
    assert grown < 32 * 1024, f"{grown} KiB a side for four streams that are not read"
    assert statistics.median(answers) < 0.05


@pytest.mark.timeout(180)
def test_three_thousand_idle_channels(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    tunnel = stage.tunnel(pair, ServerAsk(extra=["--max-channels", "8192"]))
    host = stage.enter(Host())
    stage.enter(socks.connect(tunnel.client.socks, far_echo.address))
    before = _memory(tunnel)
    with ExitStack() as channels:
        for _ in range(IDLE):
            channels.enter_context(socks.connect(tunnel.client.socks, host.address))
        grown = _grown(tunnel, before)
        with socks.connect(tunnel.client.socks, far_echo.address) as stream:
            echo(stream)
    for guest in host.guests:
        guest.close()
    assert grown < IDLE * 8, f"{grown} KiB a side for {IDLE} idle channels"
