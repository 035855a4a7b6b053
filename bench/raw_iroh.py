"""`python -m bench.raw_iroh`: Wraith over iroh beside a bare iroh stream, and beside TCP.

In each round one stream carries the same bytes four ways: through a bare iroh stream between two
processes, from memory to memory; through `wraith iroh`; through `wraith`; and, on request, through
the stream by the binding's own methods. Ratios are formed within each round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.measures import QUICK_SIZES, Bench, check
from bench.native import CouldNot, Loadgen, build, end
from bench.peers import Peer, Wraith, WraithIroh
from wraith.streams.hub import new_event_loop
from wraith.transports.base import PeerInfo
from wraith.transports.iroh import stream
from wraith.transports.iroh.accepting import IrohAcceptor
from wraith.transports.iroh.calls import read as plain_read
from wraith.transports.iroh.calls import write as plain_write
from wraith.transports.iroh.connecting import IrohTransport
from wraith.values.address import parse_listen
from wraith.values.iroh_peer import NO_RELAY, parse_ticket

PIECE = bytes(128 * 1024)
PATIENCE = 120.0
SLOWER = 50
"""By the binding's own methods so much less is carried, or a round would take minutes."""


class Source(asyncio.Protocol):
    """Sends so many bytes and ends; is told when the other side has confirmed them."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._paused = False
        self.confirmed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        while self._left and not self._paused:
            piece = PIECE[: self._left]
            self._left -= len(piece)
            self._stream.write(piece)
        if not self._left:
            self._stream.write_eof()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send()

    def data_received(self, data: bytes) -> None:
        if not self.confirmed.done():
            self.confirmed.set_result(None)


class Sink(asyncio.Protocol):
    """Counts what comes, and confirms its end with a byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport

    def data_received(self, data: bytes) -> None:
        pass

    def eof_received(self) -> bool:
        self._stream.write(b"!")
        return False


async def serve(folder: Path) -> None:
    """Accept streams until stdin ends; the ticket is printed."""
    listen = [parse_listen("iroh://127.0.0.1:0")]
    acceptor = IrohAcceptor(listen, NO_RELAY, folder / "iroh.key")

    def accept(_info: PeerInfo) -> asyncio.Protocol:
        return Sink()

    await acceptor.start(accept)
    print(acceptor.ticket, flush=True)
    try:
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await acceptor.wait_closed()


async def send(ticket: str, size: int) -> None:
    """Send `size` bytes to the peer of a ticket; the seconds are printed."""
    transport = IrohTransport(parse_ticket(ticket), NO_RELAY)
    try:
        source = Source(size)
        opened = await transport.connect(lambda: source, 10)
        began = time.monotonic()
        await asyncio.wait_for(source.confirmed, PATIENCE)
        print(time.monotonic() - began, flush=True)
        opened.close()
    finally:
        await transport.close()


@contextlib.contextmanager
def bare_stream(*, plain: bool) -> Iterator[Callable[[int], float]]:
    """What carries so many bytes over a bare stream, in MB/s."""
    argv = [sys.executable, "-m", "bench.raw_iroh", *(["--plain"] if plain else [])]
    with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
        pipe = subprocess.PIPE
        server = subprocess.Popen(
            [*argv, "--serve", folder], stdin=pipe, stdout=pipe, text=True, start_new_session=True
        )
        try:
            assert server.stdout is not None
            ticket = server.stdout.readline().strip()

            def run(size: int) -> float:
                client = [*argv, "--send", ticket, "--mb", str(size // 1_000_000)]
                done = subprocess.run(
                    client, capture_output=True, text=True, timeout=PATIENCE, check=False
                )
                if done.returncode:
                    raise CouldNot(done.stderr.strip())
                return size / float(done.stdout) / 1e6

            yield run
        finally:
            end(server)


def main() -> None:
    """Print each round, then the medians of the ratios."""
    options = _options()
    if options.plain:
        setattr(stream, "fastest", lambda: (plain_read, plain_write))  # noqa: B010 - a constant
    if options.serve or options.send:
        work = serve(options.serve) if options.serve else send(options.send, options.mb * 1_000_000)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(work)
        return
    _compare(options.mb * 1_000_000, options.reps, with_plain=options.with_plain)


def _compare(size: int, rounds: int, *, with_plain: bool) -> None:
    loadgen = Loadgen(build())
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(loadgen.serving("origin"))
        bench = Bench(loadgen, origin, QUICK_SIZES)
        bare = stack.enter_context(bare_stream(plain=False))
        ways: dict[str, Callable[[], float]] = {"bare iroh": lambda: bare(size)}
        if with_plain:
            plain = stack.enter_context(bare_stream(plain=True))
            ways["bare iroh, plain calls"] = lambda: plain(size // SLOWER)
        for kind in (WraithIroh, Wraith):
            peer: Peer = stack.enter_context(kind().running())
            check(bench, peer)
            for role in ("down", "up"):
                ways[f"{peer.name} {role}"] = _through(bench, peer, role, size)
        runs: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, way in ways.items():
                runs[name].append(way())
            line = "  ".join(f"{name} {values[-1]:.0f}" for name, values in runs.items())
            print(f"{number + 1}/{rounds}  MB/s: {line}", flush=True)
    _summary(runs)


def _through(bench: Bench, peer: Peer, role: str, size: int) -> Callable[[], float]:
    return lambda: bench.run(role, peer, bytes=size)["bytes_per_second"] / 1e6


def _summary(runs: dict[str, list[float]]) -> None:
    print("\nmedian of the ratios within each round (least to greatest)")
    for role in ("down", "up"):
        for other in ("bare iroh", f"{Wraith.name} {role}"):
            mine = runs[f"{WraithIroh.name} {role}"]
            ratios = [a / b for a, b in zip(mine, runs[other], strict=True)]
            middle = statistics.median(ratios)
            print(
                f"  {WraithIroh.name} {role} to {other}: "
                f"{middle:.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.raw_iroh", description=__doc__)
    parser.add_argument("--mb", type=int, default=300, metavar="N", help="megabytes a run (300)")
    parser.add_argument("--reps", type=int, default=5, metavar="N", help="rounds (5)")
    parser.add_argument(
        "--with-plain", action="store_true", help="also by the binding's own methods"
    )
    for name in ("--serve", "--send", "--plain"):
        kind = {"action": "store_true"} if name == "--plain" else {}
        parser.add_argument(name, help=argparse.SUPPRESS, **kind)  # type: ignore[arg-type]
    options = parser.parse_args()
    options.serve = Path(options.serve) if options.serve else None
    return options


if __name__ == "__main__":
    main()
