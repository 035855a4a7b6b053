"""How it is measured: each measure is a function from a `Bench` and a peer to figures.

It never judges. The keys of what it returns are those of `bench.figures`.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.native import CouldNot, Loadgen, WrongBytes, end
from bench.peers import Peer
from bench.peers.base import Tunnel
from bench.processes import START_TIMEOUT, cpu_seconds, resident_bytes


@dataclass(frozen=True)
class Sizes:
    """How much of everything: a whole run, or a quick one."""

    bulk: int = 1_000_000_000  # bytes
    link: int = 128_000_000  # bytes over the long link
    stalled: int = 300_000_000  # bytes of each unread stream
    channels: int = 3000
    sessions: int = 500
    ms: int = 2000  # of a measure with a fixed time


QUICK_SIZES = Sizes(bulk=250_000_000, link=24_000_000, channels=1000, sessions=100, ms=500)


@dataclass(frozen=True)
class Bench:
    """What the measures work with."""

    loadgen: Loadgen
    origin: dict[str, int]
    sizes: Sizes

    def run(self, role: str, peer: Peer, **options: int) -> dict[str, float]:
        """Run a role of the load generator through a peer."""
        return self.loadgen.run(role, **peer.route(self.origin), **options)


Function = Callable[[Bench, Peer], dict[str, float]]


@dataclass(frozen=True)
class Measure:
    """One entry of `python -m bench --list`."""

    key: str
    title: str
    run: Function
    fresh: bool = False  # a new instance of the peer for each repetition
    starts_peer: bool = False  # and the measure starts it, for that is what it times
    over_long_link: bool = False
    datagrams: bool = False  # needs UDP ASSOCIATE
    tunnels_only: bool = False  # meaningless without processes of the peer's own


def check(bench: Bench, peer: Peer) -> None:
    """Both directions, every byte compared, two streams. Raises `WrongBytes` or `CouldNot`."""
    for role in ("down", "up"):
        bench.run(role, peer, bytes=16_000_000, streams=2, compare_all=1)


def _bulk(bench: Bench, peer: Peer, role: str) -> dict[str, float]:
    pids = peer.pids()
    before = cpu_seconds(pids)
    result = bench.run(role, peer, bytes=bench.sizes.bulk)
    figures = {role: result["bytes_per_second"] / 1e6}
    if pids:
        figures[f"{role}-cpu"] = (cpu_seconds(pids) - before) / (result["bytes"] / 1e9)
    return figures


def down(bench: Bench, peer: Peer) -> dict[str, float]:
    return _bulk(bench, peer, "down")


def up(bench: Bench, peer: Peer) -> dict[str, float]:
    return _bulk(bench, peer, "up")


def connections(bench: Bench, peer: Peer) -> dict[str, float]:
    result = bench.run("conn", peer, at_once=32, ms=bench.sizes.ms)
    return {"conn": result["per_second"], "conn-p99": result["p99_us"] / 1e3}


def ping_one(bench: Bench, peer: Peer) -> dict[str, float]:
    result = bench.run("ping", peer, at_once=1, ms=bench.sizes.ms)
    return {"ping1": result["per_second"], "ping1-p99": result["p99_us"]}


def ping_many(bench: Bench, peer: Peer) -> dict[str, float]:
    result = bench.run("ping", peer, at_once=32, ms=bench.sizes.ms)
    return {"ping32": result["per_second"], "ping32-p99": result["p99_us"]}


def datagrams_one(bench: Bench, peer: Peer) -> dict[str, float]:
    result = bench.run("udp", peer, at_once=1, ms=bench.sizes.ms)
    return {"udp1": result["per_second"], "udp1-p99": result["p99_us"]}


def datagrams_many(bench: Bench, peer: Peer) -> dict[str, float]:
    result = bench.run("udp", peer, at_once=32, ms=bench.sizes.ms)
    return {"udp32": result["per_second"], "udp32-p99": result["p99_us"]}


def idle(bench: Bench, peer: Peer) -> dict[str, float]:
    before = resident_bytes(peer.pids())
    channels = bench.sizes.channels
    with bench.loadgen.serving("idle", **peer.route(bench.origin), channels=channels):
        time.sleep(0.3)
        grown = resident_bytes(peer.pids()) - before
    return {"idle": grown / channels / 1024}


def stall(bench: Bench, peer: Peer) -> dict[str, float]:
    sides = peer.sides()
    before = {side: resident_bytes(pids) for side, pids in sides.items()}
    grown = dict.fromkeys(sides, 0)
    options = {"bytes": bench.sizes.stalled, "ms": bench.sizes.ms}
    process = bench.loadgen.start("stall", **peer.route(bench.origin), **options)
    try:
        while process.poll() is None:
            for side, pids in sides.items():
                grown[side] = max(grown[side], resident_bytes(pids) - before[side])
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        result = bench.loadgen.finish(process)
    finally:
        end(process)
    return {"stall": max(grown.values()) / 1e6, "stall-p99": result["p99_us"]}


def long_link(bench: Bench, peer: Peer) -> dict[str, float]:
    result = bench.run("down", peer, bytes=bench.sizes.link)
    return {"link": result["bytes_per_second"] / 1e6}


def sessions(bench: Bench, peer: Peer) -> dict[str, float]:
    assert isinstance(peer, Tunnel)
    port = peer.prepare()
    before = resident_bytes(peer.server.pids())
    count = bench.sizes.sessions
    words = [port, peer.directory / "identity", peer.host_key_fingerprint()]
    argv = [sys.executable, "-m", "bench.sessions", *words, bench.origin["echo"], count]
    with Path(peer.directory / "sessions.log").open("wb") as log:
        clients = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        assert clients.stdout is not None
        if not clients.stdout.readline():
            raise CouldNot(f"fewer than {count} sessions could be opened")
        time.sleep(0.3)
        grown = resident_bytes(peer.server.pids()) - before
    finally:
        end(clients)
    return {"sessions": grown / count / 1024}


def start(bench: Bench, peer: Peer) -> dict[str, float]:
    assert isinstance(peer, Tunnel)
    port = peer.prepare()
    began = time.monotonic()
    peer.launch_client(port)
    while time.monotonic() - began < START_TIMEOUT:
        peer.client.check_alive()
        with contextlib.suppress(OSError):
            _one_echo(peer.socks_port, bench.origin["echo"])
            return {"start": time.monotonic() - began}
        time.sleep(0.002)
    raise CouldNot(f"no byte after {START_TIMEOUT:.0f} s")


def _one_echo(socks_port: int, echo_port: int) -> None:
    """One byte through the proxy and back, in blocking calls."""
    with socket.create_connection(("127.0.0.1", socks_port), START_TIMEOUT) as proxy:
        reader = proxy.makefile("rb")
        proxy.sendall(b"\x05\x01\x00")
        if reader.read(2) != b"\x05\x00":
            raise OSError("not ready")
        proxy.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + echo_port.to_bytes(2, "big"))
        reply = reader.read(4)
        if len(reply) < 4 or reply[1] != 0:
            raise OSError("not ready")
        reader.read(18 if reply[3] == 4 else 6)
        proxy.sendall(b"!")
        if reader.read(1) != b"!":
            raise WrongBytes("the first byte came back changed")


MEASURES: tuple[Measure, ...] = (
    Measure("down", "bulk down, one stream", down),
    Measure("up", "bulk up, one stream", up),
    Measure("conn", "new connections, 32 at a time", connections),
    Measure("ping1", "64-byte ping-pong, one at a time", ping_one),
    Measure("ping32", "64-byte ping-pong, 32 at a time", ping_many),
    Measure("udp1", "64-byte datagrams, one at a time", datagrams_one, datagrams=True),
    Measure("udp32", "64-byte datagrams, 32 at a time", datagrams_many, datagrams=True),
    Measure("idle", "memory of idle channels", idle, fresh=True, tunnels_only=True),
    Measure("stall", "four unread streams beside a live one", stall, fresh=True, tunnels_only=True),
    Measure(
        "sessions", "many clients of one server", sessions, starts_peer=True, tunnels_only=True
    ),
    Measure("link", "bulk down, 100 ms round trip", long_link, over_long_link=True),
    Measure("start", "client start to first byte", start, starts_peer=True, tunnels_only=True),
)
