"""`python -m bench.workers`: one process against several that share a port (`serve --workers`).

Bulk goes through four sessions at once, in interleaved rounds, each session a client of its own. It
matters who else needs the processors: on a machine with two of them, four clients and the load
generator leave little for a second worker. So what a gigabyte costs the server stands beside the
rate. Then what a worker weighs, and what a session and a channel add to it.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.native import CouldNot, Loadgen, build, end
from bench.peers.wraith import Wraith
from bench.processes import cpu_seconds

SESSIONS = 4
HELD = 400
CHANNELS = 3000


class Workers(Wraith):
    """`wraith serve --workers N`, and as many clients as wanted."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self.name = f"{workers} worker{'s' if workers > 1 else ''}"
        self.serve_options = ("--workers", str(workers), "--max-startups-per-ip", "100")
        self.ports: list[int] = []

    def clients(self, port: int, count: int) -> None:
        """Start so many clients, each with a port of its own."""
        for _ in range(count):
            self.launch_client(port)
            self.wait_client()
            self.ports.append(self.socks_port)


def weight(pids: list[int]) -> dict[int, tuple[float, float]]:
    """Resident and proportional memory of each process, in MB (proc(5), smaps_rollup)."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
            values = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
            found[pid] = values["Rss"], values["Pss"]
    return found


def bulk(loadgen: Loadgen, origin: dict[str, int], peer: Workers, size: int) -> tuple[float, float]:
    """MB/s through all sessions together, and the server's CPU seconds for a GB."""
    pids = peer.server.pids()
    before, began = cpu_seconds(pids), time.perf_counter()
    runs = [
        loadgen.start("down", **origin, socks=port, bytes=size // SESSIONS) for port in peer.ports
    ]
    try:
        moved = sum(loadgen.finish(run)["bytes"] for run in runs)
    finally:
        for run in runs:
            end(run)
    took = time.perf_counter() - began
    return moved / took / 1e6, (cpu_seconds(pids) - before) / (moved / 1e9)


def hold_sessions(peer: Workers, port: int, echo: int, count: int) -> tuple[float, float, float]:
    """KiB of the server for each session with one channel, CPU seconds, and sessions a second."""
    pids = peer.server.pids()
    before, cpu, began = weight(pids), cpu_seconds(pids), time.perf_counter()
    words = [port, peer.directory / "identity", peer.host_key_fingerprint(), echo, count]
    with Path(peer.directory / "sessions.log").open("wb") as log:
        clients = subprocess.Popen(
            [sys.executable, "-m", "bench.sessions", *map(str, words)],
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
        took = time.perf_counter() - began
        spent = cpu_seconds(pids) - cpu
        time.sleep(0.3)
        after = weight(pids)
    finally:
        end(clients)
    grown = sum(after[pid][0] - before[pid][0] for pid in after)
    return grown * 1024 / count, spent / count, count / took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--bytes", type=int, default=800_000_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    wanted = parser.parse_args()
    loadgen = Loadgen(build())
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(loadgen.serving("origin"))
        peers, ports = [], {}
        for count in wanted.workers:
            peer = Workers(count)
            stack.callback(peer.stop)
            ports[peer] = peer.prepare()
            print(f"{peer.name}: resident / proportional MB of each process, idle:")
            for resident, proportional in weight(peer.server.pids()).values():
                print(f"    {resident:.1f} / {proportional:.1f}")
            peer.clients(ports[peer], SESSIONS)
            peers.append(peer)
        figures: dict[Workers, list[tuple[float, float]]] = {peer: [] for peer in peers}
        for _ in range(wanted.reps):
            for peer in peers:
                figures[peer].append(bulk(loadgen, origin, peer, wanted.bytes))
        for peer, found in figures.items():
            rate, cpu = (statistics.median(values) for values in zip(*found, strict=True))
            print(f"{peer.name}: {SESSIONS} sessions, {rate:.0f} MB/s, server {cpu:.2f} s for a GB")
        base = statistics.median(rate for rate, _ in figures[peers[0]])
        for peer in peers[1:]:
            ratio = statistics.median(rate for rate, _ in figures[peer]) / base
            print(f"{peer.name} / {peers[0].name}: {ratio:.2f}")
        for peer in peers:
            each, cpu, rate = hold_sessions(peer, ports[peer], origin["echo"], HELD)
            print(
                f"{peer.name}: {HELD} sessions with a channel: {each:.0f} KiB and "
                f"{cpu * 1000:.2f} ms of the server for each, {rate:.0f} a second"
            )
        for peer in peers:
            pids = peer.server.pids()
            before = weight(pids)
            with loadgen.serving("idle", **origin, socks=peer.ports[0], channels=CHANNELS):
                time.sleep(0.3)
                after = weight(pids)
            grown = sum(after[pid][0] - before[pid][0] for pid in after)
            print(f"{peer.name}: {CHANNELS} idle channels: {grown * 1024 / CHANNELS:.2f} KiB each")


if __name__ == "__main__":
    main()
