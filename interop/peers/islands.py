"""Two networks that meet at a relay and nowhere else.

    here ──────── relay, 10.97.0.1 ──────── there
    10.97.1.2     forwards no packet        10.97.2.2

Three network namespaces, made for one story. What runs on one island cannot reach the other, so
whatever arrives has come through the relay. Without root, a user namespace lends the right.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from interop.peers.process import Process
from interop.peers.stage import Stage
from interop.peers.tools import find_tool, require_tool

RELAY = "10.97.0.1"
PORT = 3340
URL = f"http://{RELAY}:{PORT}"

_ROOT = Path(__file__).parents[2]


class Islands:
    """The three networks; a program runs in one of them by `run`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._sea = self._holder(stage.process([*_own_network(), "sleep", "600"]))
        self.here = self._island("1")
        self.there = self._island("2")
        self._do(self._sea, "echo 0 > /proc/sys/net/ipv4/ip_forward")
        self._do(self._sea, f"ip link set lo up && ip addr add {RELAY}/32 dev lo")

    def _holder(self, process: Process) -> Process:
        process.wait_for_log(lambda _log: _comm(process.pid) == "sleep")
        return process

    def _island(self, number: str) -> Process:
        unshare: list[str | Path] = [require_tool("unshare"), "-n", "sleep", "600"]
        island = self._holder(self.run(self._sea, *unshare))
        wire = f"ip link add to{number} type veth peer name sea netns {island.pid}"
        ours = f"ip addr add 10.97.{number}.1/24 dev to{number} && ip link set to{number} up"
        self._do(self._sea, f"{wire} && {ours}")
        theirs = f"ip addr add 10.97.{number}.2/24 dev sea && ip link set sea up"
        route = f"ip route add default via 10.97.{number}.1"
        self._do(island, f"ip link set lo up && {theirs} && {route}")
        return island

    def run(self, island: Process, *command: str | Path, **env: str) -> Process:
        """Start a program on an island."""
        return self._stage.process([*self.enter(island), *command], **env)

    def enter(self, island: Process) -> list[str | Path]:
        """What goes before a command that is to run there."""
        enter: list[str | Path] = [require_tool("nsenter"), "-t", str(island.pid), "-n"]
        if os.getuid():
            enter += ["-U", "--preserve-credentials"]
        return [*enter, "--"]

    def _do(self, island: Process, script: str) -> None:
        command = [*self.enter(island), "sh", "-ec", script]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}: {done.stderr}"

    def relay(self, kind: str) -> Process:
        """Start a relay between the islands: `fixture`, or iroh's own (`iroh-relay`)."""
        command: list[str | Path]
        if kind == "fixture":
            where = [RELAY, str(PORT)]
            command = [sys.executable, "-m", "tests.support.iroh_relay", *where]
        else:
            config = self._stage.home("relay") / "relay.toml"
            config.write_text(f'http_bind_addr = "{RELAY}:{PORT}"\nenable_metrics = false\n')
            command = [require_tool("iroh-relay"), "--dev", "--config-path", config]
        process = self.run(self._sea, *command, PYTHONPATH=str(_ROOT))
        probe = f"curl -sf -o /dev/null http://{RELAY}:{PORT}/ping"
        waiting = f"for i in $(seq 100); do {probe} && exit 0; sleep 0.1; done; exit 1"
        self._do(self._sea, waiting)
        assert process.running, process.log
        return process


def relays() -> Sequence[str]:
    """The relays to try: the small one of the tests, and the real one where it is installed."""
    return ["fixture", *(["iroh-relay"] if find_tool("iroh-relay") else [])]


def _comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _own_network() -> Sequence[str | Path]:
    wrapper: list[str | Path] = [require_tool("unshare"), "-n", *(["-r"] if os.getuid() else [])]
    trial = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    if trial.returncode != 0:
        reason = f"no network namespace here: {trial.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return wrapper
