"""`python -m bench.bus`: the event bus of one server, with a thousand subscribers.

    $ python -m bench.bus                              # 1000 subscribers, 10,000 events/s, a minute
    $ python -m bench.bus --subscribers 200 --rate 2000 --seconds 5

Reports what was delivered and how late, what the server's processor and memory were, and what
channels that do not read do to the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.bus_clients import Load
from bench.peers.wraith import Wraith
from bench.processes import cpu_seconds, resident_bytes

MIB = 1024 * 1024


def loads(rate: int, seconds: float, subscribers: int) -> list[tuple[str, Load]]:
    """What is asked of the bus, in this order."""
    return [
        ("one topic each", Load(rate, seconds)),
        ("one topic for all", Load(max(1, rate // subscribers), seconds, fan=True)),
        ("one topic each, 10 channels stalled", Load(rate // 4, seconds, stalled=10)),
        ("the same, none stalled", Load(rate // 4, seconds)),
        ("one topic each, as fast as it goes", Load(0, seconds)),
    ]


class Subscribers:
    """The process with all clients."""

    def __init__(self, server: Wraith, port: int, sessions: int, count: int) -> None:
        self._child = subprocess.Popen(
            [
                *(sys.executable, "-m", "bench.bus_clients", str(port)),
                str(Path(server.directory) / "identity"),
                server.host_key_fingerprint(),
                *(str(sessions), str(count)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit("the clients have ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def carry(self, load: Load) -> dict[str, Any]:
        """Have a load carried; what became of it."""
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(asdict(load)) + "\n")
        self._child.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._child.terminate()
        self._child.communicate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.bus", description=__doc__.split("\n")[0])
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=100, help="SSH sessions that they share")
    parser.add_argument("--rate", type=int, default=10_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each load")
    arguments = parser.parse_args()
    server = Wraith()
    try:
        port = server.prepare()
        pids = server.server.pids()
        empty = resident_bytes(pids)
        clients = Subscribers(server, port, arguments.sessions, arguments.subscribers)
        try:
            held = resident_bytes(pids)
            print(
                f"{arguments.subscribers} subscribers on {arguments.sessions} sessions: "
                f"server {empty / MIB:.0f} MiB alone, {held / MIB:.0f} MiB with them "
                f"({(held - empty) / arguments.subscribers / 1024:.1f} KiB each)\n"
            )
            print(HEAD)
            for name, load in loads(arguments.rate, arguments.seconds, arguments.subscribers):
                print(_row(name, load, clients, pids), flush=True)
        finally:
            clients.close()
    finally:
        server.stop()


HEAD = (
    f"{'load':<38}{'events/s':>9}{'delivered/s':>12}{'of':>8}{'p50 ms':>8}{'p99 ms':>8}"
    f"{'cpu':>6}{'µs each':>9}{'MiB':>6}{'cut':>5}{'lost':>5}"
)


def _row(name: str, load: Load, clients: Subscribers, pids: list[int]) -> str:
    cpu, began = cpu_seconds(pids), time.monotonic()
    result = clients.carry(load)
    spent = cpu_seconds(pids) - cpu
    busy, each = spent / (time.monotonic() - began), spent / result["delivered"] * 1e6
    share = result["delivered"] / result["expected"]
    return (
        f"{name:<38}{result['published'] / result['seconds']:>9.0f}"
        f"{result['delivered'] / result['until_last']:>12.0f}{share:>8.1%}"
        f"{result['p50_ms']:>8.1f}{result['p99_ms']:>8.1f}{busy:>6.0%}{each:>9.0f}"
        f"{resident_bytes(pids) / MIB:>6.0f}{result['cut']:>5}{result['lost']:>5}"
    )


if __name__ == "__main__":
    main()
