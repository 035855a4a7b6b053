"""What strangers do at the local port disturbs nobody."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from interop.peers import socks
from interop.peers.origins import BlackHole, Echo
from interop.peers.roles import Address, Pair
from interop.peers.stage import Stage
from interop.peers.transfer import MEGABYTE, blocks, echo, open_stream, read_exactly

pytestmark = pytest.mark.pairs(client="wraith")

PROMPT = 1.0
"""Seconds within which an undisturbed connection is served."""

HALF_FINISHED = [
    b"",
    b"\x05",
    b"\x05\x02\x00",
    b"\x05\x01\x00",
    b"\x05\x01\x00\x05\x01\x00\x03\x40half a na",
    b"\x04\x01\x00\x50",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"CONNECT example.",
    b"GET http://example.invalid/ HTTP/1.1\r\nHost: ",
]

GARBAGE = [
    b"\x00" * 64,
    b"\xff" * 64,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"\x05\x00",
    b"\x05\x01\x02",
    b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50",
    b"\x05\x01\x00\x05\x09\x00\x09",
    b"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50",
    b"\x04\x01\x00\x50\x00\x00\x00\x01" + b"u" * 100_000,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000,
    b"POST /proxy.pac HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
]


def _is_served(proxy: Address, target: Address) -> None:
    begun = time.monotonic()
    with socks.connect(proxy, target) as stream:
        echo(stream)
    assert time.monotonic() - begun < PROMPT


def test_a_black_hole_delays_nobody(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    proxy = stage.tunnel(pair).client.socks
    hole = stage.enter(BlackHole()).address
    for _ in range(30):
        lost = stage.enter(open_stream(proxy))
        lost.sendall(socks.GREETING + socks.request(hole))
    for _ in range(10):
        _is_served(proxy, far_echo.address)


def test_200_half_finished_handshakes(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    proxy = stage.tunnel(pair).client.socks
    for number in range(200):
        stranger = stage.enter(open_stream(proxy))
        stranger.sendall(HALF_FINISHED[number % len(HALF_FINISHED)])
    for _ in range(10):
        _is_served(proxy, far_echo.address)


def test_garbage_is_closed_quietly(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    client = stage.tunnel(pair).client
    for garbage in GARBAGE:
        with open_stream(client.socks) as stranger, suppress(ConnectionError):
            stranger.sendall(garbage)
            while stranger.recv(4096):
                pass
        _is_served(client.socks, far_echo.address)
    assert "Traceback" not in client.process.log


def test_one_byte_a_segment(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    proxy = stage.tunnel(pair).client.socks
    for target in (far_echo.address, Address("localhost", far_echo.address.port)):
        with socks.connect(proxy, target, pause=0.005) as stream:
            echo(stream)


def test_what_follows_the_request_at_once_is_not_lost(
    stage: Stage, pair: Pair, far_echo: Echo
) -> None:
    proxy = stage.tunnel(pair).client.socks
    with open_stream(proxy) as stream:
        stream.sendall(socks.GREETING + socks.request(far_echo.address) + b"early bird")
        assert read_exactly(stream, 2) == b"\x05\x00"
        socks.read_reply(stream)
        assert read_exactly(stream, 10) == b"early bird"


@pytest.mark.timeout(120)
def test_who_does_not_read_stalls_only_himself(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    tunnel = stage.tunnel(pair)
    before = tunnel.client.process.holdings().memory
    lazy = stage.enter(socks.connect(tunnel.client.socks, far_echo.address))
    lazy.settimeout(1)
    with suppress(TimeoutError):
        for block in blocks(400 * MEGABYTE):
            lazy.sendall(block)
    for _ in range(5):
        _is_served(tunnel.client.socks, far_echo.address)
    grown = tunnel.client.process.holdings().memory - before
    assert grown < 64 * 1024, f"{grown} KiB for one connection that is not read"
