"""`python -m bench.tun`: what a TUN device costs, beside the same SOCKS5 server without one.

Everything happens in a network namespace that this program makes for itself, so it needs either
root, or user namespaces and a `/dev/net/tun` that this user may open. The load generator runs
through each SOCKS5 server twice: speaking SOCKS5 itself, and as the command of a shim that knows
nothing of it. Ways take turns in every round, and ratios are of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.native import OUT, CouldNot, Loadgen, build
from bench.peers.base import Tunnel
from bench.peers.plain import Dante, Microsocks
from bench.peers.wraith import Wraith

NET = 10
"""The origin is in 10.0.0.0/8, which is on loopback here, and behind the device for the shims."""

HOSTS = 16
INSIDE = "--inside"


CPU = "cpu_us"
"""A figure that is not the load generator's: of the process that started it, which is the shim."""

_AROUND = 't() { cut -d" " -f14,15 "/proc/$PPID/stat"; }; t; "$@"; t'
"""Run a command, and tell before and after it the ticks that its parent has used (proc(5))."""


@dataclass(frozen=True)
class Measure:
    """A role of the load generator, and which of its figures counts."""

    key: str
    title: str
    role: str
    figure: str
    unit: str
    scale: float = 1.0
    options: dict[str, int] = field(default_factory=dict)


MEASURES = (
    Measure("down", "bulk down, one stream", "down", "bytes_per_second", "MB/s", 1e-6),
    Measure("up", "bulk up, one stream", "up", "bytes_per_second", "MB/s", 1e-6),
    Measure(
        "many", "bulk down, 1000 streams at once", "down", "bytes_per_second", "MB/s", 1e-6,
        {"streams": 1000, "bytes": 400_000_000},
    ),
    Measure("conn", "new connections, 32 at a time", "conn", "per_second", "/s", 1, {"ms": 2000}),
    Measure(
        "first", "connect, 64 bytes, close; median", "conn", "p50_us", "ms", 1e-3,
        {"ms": 1000, "at_once": 1},
    ),
    Measure("cpu", "the shim's own time for a connection", "conn", CPU, "µs", 1, {"ms": 2000}),
    Measure("ping", "64-byte ping-pong", "ping", "per_second", "/s", 1, {"ms": 1000, "at_once": 1}),
    Measure("udp", "64-byte datagrams", "udp", "per_second", "/s", 1, {"ms": 1000, "at_once": 1}),
    Measure(
        "udp32", "64-byte datagrams, 32 at a time", "udp", "per_second", "/s", 1,
        {"ms": 1000, "at_once": 32},
    ),
)  # fmt: skip

TCP = tuple(measure for measure in MEASURES if measure.role != "udp")
UDP = tuple(measure for measure in MEASURES if measure.role == "udp")

SERVERS: dict[type[Tunnel], tuple[Measure, ...]] = {
    Microsocks: TCP,
    Dante: UDP,
    Wraith: MEASURES,
}
"""What is measured through whom. Dante is here because microsocks has no datagrams."""

Shim = Callable[[int], list[str]]
"""The words before a command that is to run behind a shim, for a SOCKS5 port."""


def _wraith_tun(port: int) -> list[str]:
    program = str(Path(sys.executable).parent / "wraith-tun")
    return [program, "--socks5", f"127.0.0.1:{port}", "--unshare", "--"]


def _tun2proxy(port: int) -> list[str]:
    program = shutil.which("tun2proxy-bin") or "tun2proxy-bin"
    options = ["--unshare", "--setup", "--proxy", f"socks5://127.0.0.1:{port}", "-v", "off"]
    return [program, *options, "--"]


SHIMS: dict[str, Shim] = {"wraith-tun": _wraith_tun, "tun2proxy": _tun2proxy}


def main() -> int:
    """Exit code 0, or 1 when nothing could be measured."""
    options = _options()
    if not options.inside:
        flags = ["-n"] if os.getuid() == 0 else ["-Urn"]
        words = [sys.executable, "-m", "bench.tun", INSIDE, *sys.argv[1:]]
        return subprocess.call(["unshare", *flags, *words])
    for words in (["link", "set", "lo", "up"], *_addresses()):
        subprocess.run(["ip", *words], check=True)
    loadgen = Loadgen(build())
    with loadgen.serving("origin", net=NET) as origin:
        table = {
            kind.name: _measure_server(kind, measures, loadgen, origin, options)
            for kind, measures in SERVERS.items()
        }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "tun.json").write_text(json.dumps(table, indent=1))
    print(_render(table))
    return 0 if any(table.values()) else 1


def _addresses() -> list[list[str]]:
    return [["addr", "add", f"{NET}.0.0.{host}/32", "dev", "lo"] for host in range(1, HOSTS + 1)]


Samples = dict[str, dict[str, list[float]]]
"""Measure to way to one figure a round."""


def _measure_server(
    kind: type[Tunnel],
    measures: tuple[Measure, ...],
    loadgen: Loadgen,
    origin: dict[str, int],
    options: argparse.Namespace,
) -> Samples:
    if reason := kind.missing():
        print(f"{kind.name}: {reason}", file=sys.stderr)
        return {}
    peer, samples = kind(), Samples()
    shims = {name: shim for name, shim in SHIMS.items() if shutil.which(shim(0)[0])}
    with peer.running():
        for measure in (each for each in measures if not options.only or each.key in options.only):
            for number in range(options.reps):
                for way in shims if measure.figure == CPU else ("socks", *shims):
                    print(f"{kind.name} {measure.key} {number + 1} {way}", file=sys.stderr)
                    words = {**origin, "net": NET, "bytes": options.bytes, **measure.options}
                    if way == "socks":
                        words["socks"] = peer.socks_port
                    before = shims[way](peer.socks_port) if way in shims else []
                    figure = _run(loadgen, before, measure, words)
                    if figure is not None:
                        samples.setdefault(measure.key, {}).setdefault(way, []).append(figure)
    return samples


def _run(
    loadgen: Loadgen, before: list[str], measure: Measure, words: dict[str, int]
) -> float | None:
    around = ["sh", "-c", _AROUND, "sh"] if measure.figure == CPU else []
    command = [*before, *around, *loadgen.argv(measure.role, words)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=90
    )
    if done.returncode or not done.stdout.strip():
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        print(f"  could not ({done.returncode}): {said[0]}", file=sys.stderr)
        return None
    lines = done.stdout.strip().splitlines()
    if measure.figure == CPU:
        first, report, last = lines
        ticks = sum(map(int, last.split())) - sum(map(int, first.split()))
        return ticks / os.sysconf("SC_CLK_TCK") / int(json.loads(report)["count"]) * 1e6
    return float(json.loads(lines[-1])[measure.figure]) * measure.scale


def _render(table: dict[str, Samples]) -> str:
    lines = []
    for server, samples in table.items():
        lines += ["", f"through {server}"] if samples else []
        for measure in MEASURES:
            ways = samples.get(measure.key, {})
            plain = ways.get("socks", [])
            for way, figures in ways.items():
                pairs = [figure / base for figure, base in zip(figures, plain, strict=False)]
                ratio = f"{statistics.median(pairs):6.2f} of socks" if pairs else ""
                middle = f"{statistics.median(figures):9.2f} {measure.unit:5}"
                spread = f"{min(figures):9.2f} … {max(figures):.2f}"
                lines.append(f"  {measure.title:34}{way:12}{middle}{ratio:18}{spread}")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.tun", description=__doc__)
    keys = [measure.key for measure in MEASURES]
    parser.add_argument("only", nargs="*", metavar="MEASURE", help=f"of {', '.join(keys)}; or all")
    parser.add_argument("--reps", type=int, default=5, help="rounds (5)")
    parser.add_argument("--bytes", type=int, default=1_000_000_000, help="of a bulk transfer")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CouldNot as problem:
        sys.exit(f"bench.tun: {problem}")
