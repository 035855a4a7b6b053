"""A small internet of network namespaces, drawn and taken down by the story that needs it.

    red  10.1.0.2 ── 10.1.0.1 router 192.0.2.11 ──┐
                                                  ├── 192.0.2.1 hub
    blue 10.2.0.2 ── 10.2.0.1 router 192.0.2.12 ──┘

Each router translates addresses (masquerade), so that the hub and the other side see the router
only, and nobody reaches who is behind it. Nothing of it touches the machine's own network.
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
from interop.peers.tools import require_tool

HUB = "192.0.2.1"

_HOLD = "import signal; print('up', flush=True); signal.pause()"


class Machine:
    """A network namespace, held by a process that only sleeps."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.name = name
        self._stage = stage
        unshare: list[str | Path] = [require_tool("unshare"), "-n", "--"]
        self.holder = stage.process([*unshare, sys.executable, "-c", _HOLD])
        self.holder.wait_for_log(lambda log: "up" in log)
        self.run("ip", "link", "set", "lo", "up")

    def inside(self, command: Sequence[str | Path]) -> list[str | Path]:
        """The command, to be run here."""
        return [require_tool("nsenter"), "-t", str(self.holder.pid), "-n", "--", *command]

    def run(self, *command: str | Path, check: bool = True) -> int:
        """Run a command here to its end; its exit code."""
        ended = subprocess.run(self.inside(command), capture_output=True, text=True, check=False)
        assert not check or ended.returncode == 0, f"{command}: {ended.stderr}"
        return ended.returncode

    def start(self, *command: str | Path) -> Process:
        """Start a program here."""
        return self._stage.process(self.inside(command))

    def link(self, address: str, other: Machine, other_address: str) -> None:
        """A cable to another machine; the addresses are with their prefix, or empty."""
        here, there = f"{self.name}-{other.name}", f"{other.name}-{self.name}"
        peer = ["peer", "name", there, "netns", str(other.holder.pid)]
        self.run("ip", "link", "add", here, "type", "veth", *peer)
        for machine, device, where in ((self, here, address), (other, there, other_address)):
            if where:
                machine.run("ip", "address", "add", where, "dev", device)
            machine.run("ip", "link", "set", device, "up")


def behind_nat(stage: Stage, *names: str) -> tuple[Machine, list[Machine]]:
    """The hub, and a machine behind a router of its own for each name."""
    _require_root()
    hub = Machine(stage, "hub")
    hub.run("ip", "link", "add", "street", "type", "bridge")
    hub.run("ip", "address", "add", f"{HUB}/24", "dev", "street")
    hub.run("ip", "link", "set", "street", "up")
    hidden = []
    for number, name in enumerate(names, 1):
        router, machine = Machine(stage, f"r{number}"), Machine(stage, name)
        hub.link("", router, f"192.0.2.{10 + number}/24")
        hub.run("ip", "link", "set", f"hub-r{number}", "master", "street")
        router.link(f"10.{number}.0.1/24", machine, f"10.{number}.0.2/24")
        machine.run("ip", "route", "add", "default", "via", f"10.{number}.0.1")
        router.run(sys.executable, "-c", "open('/proc/sys/net/ipv4/ip_forward', 'w').write('1')")
        masquerade = ["-A", "POSTROUTING", "-o", f"r{number}-hub", "-j", "MASQUERADE"]
        router.run(require_tool("iptables"), "-t", "nat", *masquerade)
        hidden.append(machine)
    return hub, hidden


def _require_root() -> None:
    if os.getuid() == 0:
        return
    if os.environ.get("CI") == "true":
        pytest.fail("network namespaces with routers need root, and CI must run this story")
    pytest.skip("network namespaces with routers need root")
