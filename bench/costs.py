"""`python -m bench.costs`: what one message, one connection and one megabyte cost, counted.

Times differ from machine to machine and from minute to minute; these counts hardly do. System calls
come from `strace -c`, instructions in user space from valgrind's `callgrind`, each attached only
while the work is done and divided by its amount. A ceiling stands beside each figure, a bit above
what was counted when it was last set: the exit code is 1 when one is exceeded, so that a return to
old costs does not pass unseen. `--set` counts anew and prints the table to paste here.

Instructions are those of the interpreter as well, so their ceilings hold for one version of Python;
under another they are shown and judge nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.native import CouldNot, Loadgen, build
from bench.peers.wraith import Wraith

PATIENCE = 120.0
"""Seconds for a side to start under valgrind."""

MARGIN = 1.1

BATCH_MARGIN = 2.0
"""How many messages or packets share a system call is a matter of timing: when the other side gets
less of the machine, smaller pieces are read. A third more than usual has been seen; a call for each
packet would be several times as many."""

BATCHED = ("ping32", "down", "up")

COUNTED_WITH = (3, 11)
"""The Python that the ceilings of instructions were set with."""


@dataclass(frozen=True)
class Work:
    """Something to do through the tunnel, and how often."""

    key: str
    role: str
    unit: str
    amount: int
    options: dict[str, int]


WORKS = (
    Work("ping1", "ping", "exchange", 2000, {"at_once": 1, "count": 2000}),
    Work("ping32", "ping", "exchange", 8000, {"at_once": 32, "count": 8000}),
    Work("conn", "conn", "connection", 1000, {"at_once": 32, "count": 1000}),
    Work("down", "down", "MB", 64, {"bytes": 64_000_000}),
    Work("up", "up", "MB", 64, {"bytes": 64_000_000}),
)

Counts = dict[tuple[str, str, str], float]
"""By work, side and kind (`calls` or `instructions`); for one unit of the work."""


class Counted(Wraith):
    """Wraith with each of its two sides run under another program."""

    wrapper: tuple[str, ...] = ()
    patience = PATIENCE

    def wrapped(self, side: str) -> tuple[str, ...]:
        """What goes before a side's command line."""
        return tuple(word.replace("SIDE", str(self.directory / side)) for word in self.wrapper)


class UnderCallgrind(Counted):
    """Counts instructions, but only when told to."""

    wrapper = (
        *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"),
        *("--callgrind-out-file=SIDE.callgrind", "--combine-dumps=no"),
    )


def system_calls(peer: Wraith, work: Callable[[], None]) -> dict[str, int]:
    """System calls of each side while `work` is done; waiting for events is one of them."""
    tracers = {}
    for side, pids in peer.sides().items():
        log = peer.directory / f"{side}.strace"
        argv = ["strace", "-c", "-f", "-o", str(log), "-p", str(pids[0])]
        tracers[side] = (log, subprocess.Popen(argv, stderr=subprocess.PIPE, text=True))
    for _, tracer in tracers.values():
        assert tracer.stderr is not None
        tracer.stderr.readline()  # "attached"
    work()
    counts = {}
    for side, (log, tracer) in tracers.items():
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=20)
        counts[side] = _strace_total(log.read_text())
    return counts


def _strace_total(text: str) -> int:
    found = re.search(r"^100\.00\s+\S+\s+\S+\s+(\d+)\s+(?:\d+\s+)?total$", text, re.MULTILINE)
    if found is None:
        raise CouldNot("strace counted nothing")
    return int(found[1])


def instructions(peer: Wraith, work: Callable[[], None]) -> dict[str, int]:
    """Instructions of each side while `work` is done."""
    pids = {side: pids[0] for side, pids in peer.sides().items()}
    for pid in pids.values():
        _control(pid, "--instr=on")
        _control(pid, "--zero")
    work()
    counts = {}
    for side, pid in pids.items():
        before = set(peer.directory.glob(f"{side}.callgrind*"))
        _control(pid, "--dump")
        _control(pid, "--instr=off")
        counts[side] = _callgrind_total(_fresh(peer.directory, side, before))
    return counts


def _control(pid: int, order: str) -> None:
    done = subprocess.run(
        ["callgrind_control", order, str(pid)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or "Error" in done.stdout:
        raise CouldNot(f"callgrind_control {order}: {(done.stderr or done.stdout).strip()}")


def _fresh(directory: Path, side: str, before: set[Path]) -> Path:
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        for path in set(directory.glob(f"{side}.callgrind*")) - before:
            if "totals:" in path.read_text(errors="replace")[-2000:]:
                return path
        time.sleep(0.05)
    raise CouldNot("callgrind wrote nothing")


def _callgrind_total(path: Path) -> int:
    found = re.search(r"^totals: (\d+)", path.read_text(errors="replace"), re.MULTILINE)
    assert found is not None
    return int(found[1])


Counter = Callable[[Wraith, Callable[[], None]], dict[str, int]]


def count(kind: str, peer: Counted, counter: Counter) -> Counts:
    """Every work, warmed up once and then counted."""
    loadgen = Loadgen(build())
    counts: Counts = {}
    with loadgen.serving("origin") as origin, peer.running():
        for work in WORKS:

            def once(work: Work = work) -> None:
                loadgen.run(work.role, **peer.route(origin), **work.options, limit=300)

            once()
            for side, total in counter(peer, once).items():
                counts[work.key, side, kind] = total / work.amount
    return counts


@contextlib.contextmanager
def _progress(text: str) -> Iterator[None]:
    print(text, file=sys.stderr, flush=True)
    yield


def measure() -> Counts:
    """All counts. Raises `CouldNot` where a tool is missing or a side does not start."""
    for tool in ("strace", "valgrind"):
        if shutil.which(tool) is None:
            raise CouldNot(f"{tool} is not installed")
    with _progress("counting system calls"):
        counts = count("calls", Counted(), system_calls)
    with _progress("counting instructions; a minute or two"):
        counts |= count("instructions", UnderCallgrind(), instructions)
    return counts


def ceiling_of(key: str, side: str, kind: str) -> float | None:
    """The most that it may cost, where that can be said."""
    if kind == "instructions" and sys.version_info[:2] != COUNTED_WITH:
        return None
    return CEILINGS[key, side, kind]


def margin_of(key: str, kind: str) -> float:
    """How far above what was counted a ceiling is set."""
    return BATCH_MARGIN if kind == "calls" and key in BATCHED else MARGIN


def above(counts: Counts) -> bool:
    """Whether anything costs more than it may."""
    ceilings = {key: ceiling_of(*key) for key in counts}
    return any(most is not None and counts[key] > most for key, most in ceilings.items())


def report(counts: Counts) -> list[str]:
    """Print the table; the lines above their ceiling."""
    exceeded = []
    units = {work.key: work.unit for work in WORKS}
    print(f"{'work':<8}{'side':<8}{'per':<12}{'count':>14}{'ceiling':>14}")
    for (key, side, kind), value in counts.items():
        ceiling = ceiling_of(key, side, kind)
        shown = "-" if ceiling is None else f"{ceiling:,.2f}"
        line = f"{key:<8}{side:<8}{units[key]:<12}{value:>14,.2f}{shown:>14}  {kind}"
        print(line)
        if ceiling is not None and value > ceiling:
            exceeded.append(line)
    return exceeded


def main() -> int:
    """Exit code 0, 1 when a ceiling is exceeded, 2 when nothing could be counted."""
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description=__doc__)
    parser.add_argument(
        "--set", action="store_true", help="print ceilings to paste into the source"
    )
    options = parser.parse_args()
    try:
        counts = measure()
    except CouldNot as problem:
        print(f"could not count: {problem}", file=sys.stderr)
        return 2
    if not options.set and above(counts):
        print("too much; counting again", file=sys.stderr)
        again = measure()
        counts = {key: min(value, again[key]) for key, value in counts.items()}
    exceeded = report(counts)
    if options.set:
        for (key, side, kind), value in counts.items():
            print(f'    ("{key}", "{side}", "{kind}"): {value * margin_of(key, kind):.4g},')
        return 0
    for line in exceeded:
        print(f"more than it may cost: {line}", file=sys.stderr)
    return 1 if exceeded else 0


CEILINGS: Counts = {
    ("ping1", "client", "calls"): 6.611,
    ("ping1", "server", "calls"): 6.611,
    ("ping32", "client", "calls"): 4.52,
    ("ping32", "server", "calls"): 4.48,
    ("conn", "client", "calls"): 17.66,
    ("conn", "server", "calls"): 14.23,
    ("down", "client", "calls"): 20.32,
    ("down", "server", "calls"): 24.54,
    ("up", "client", "calls"): 25.18,
    ("up", "server", "calls"): 23.38,
    ("ping1", "client", "instructions"): 92600,
    ("ping1", "server", "instructions"): 92060,
    ("ping32", "client", "instructions"): 54630,
    ("ping32", "server", "instructions"): 53640,
    ("conn", "client", "instructions"): 494400,
    ("conn", "server", "instructions"): 297000,
    ("down", "client", "instructions"): 2.759e6,
    ("down", "server", "instructions"): 2.699e6,
    ("up", "client", "instructions"): 2.712e6,
    ("up", "server", "instructions"): 2.765e6,
}


if __name__ == "__main__":
    sys.exit(main())
