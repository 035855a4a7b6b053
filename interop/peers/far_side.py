"""A server whose machine has a network of its own: nobody else reaches what is on its loopback.

    test process ── 127.0.0.1:port ── (inherited listening socket)
        └── wraith serve, in a network namespace ── its loopback: dnsmasq, echoes

A socket stays in the network in which it was made. So the server accepts here and reaches out
there, and no interface has to lead from one to the other. Without root, a user namespace lends the
right.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from interop.peers.namespaces import with_private_hosts
from interop.peers.process import Process, ReadyPipe
from interop.peers.roles import Address, ServerAsk
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool
from interop.peers.wraith import end_well

DNS = Address("127.0.0.1", 5353)

# As systemd hands over a listening socket (sd_listen_fds(3)): descriptor 3, and our own number.
_BEGIN = """
import os, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""

_ECHO = """
import socket, sys
ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    data, sender = ear.recvfrom(65535)
    ear.sendto(b"%s:%d " % (sender[0].encode(), sender[1]) + data, sender)
"""


class FarSide:
    """`wraith serve` in a network of its own, and what else is there."""

    def __init__(self, stage: Stage, ask: ServerAsk) -> None:
        self._stage = stage
        self._home = stage.home("far")
        self.host_key = stage.key("host")
        ready = ReadyPipe()
        authorized = self._home / "authorized_keys"
        authorized.write_text("\n".join([*ask.authorized, ""]))
        authorized.chmod(0o600)
        serve: list[str | Path] = [require_tool("wraith"), "serve", "--ready-fd", str(ready.writer)]
        serve += ["--key", self.host_key.path, "--authorized-keys", authorized, *ask.extra]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            begin: list[str | Path] = [sys.executable, "-c", _BEGIN, str(listener.fileno())]
            self.process = Process(
                with_private_hosts([*_own_network(), *begin, *serve], ask.hosts, self._home),
                self._home / "serve.log",
                clean_environment(self._home),
                pass_fds=[ready.writer, listener.fileno()],
            )
            self.address = Address(*listener.getsockname())
        ready.read(self.process)
        stage._exits.callback(self.stop)

    def start(self) -> None:
        """It starts once only."""
        raise NotImplementedError

    def stop(self) -> None:
        end_well(self.process, self._home)

    def run(self, *command: str | Path) -> Process:
        """Start a program there."""
        enter: list[str | Path] = [require_tool("nsenter"), "-t", str(self.process.pid), "-n"]
        if os.getuid():
            enter += ["-U", "--preserve-credentials"]
        return self._stage.process([*enter, "--", *command])

    def ip(self, *words: str) -> None:
        """Change that network, in the words of ip(8)."""
        assert self.run(require_tool("ip"), *words).wait() == 0, words

    def dns(self, *records: str, where: Address = DNS) -> Address:
        """A DNS server that knows these names, as dnsmasq writes them: `name,address`."""
        options: list[str] = [f"--port={where.port}", f"--listen-address={where.host}"]
        options += ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]
        options += ["--bind-interfaces", "--pid-file=", "--log-facility=-", "--user="]
        options += [f"--host-record={record}" for record in records]
        dnsmasq = self.run(require_tool("dnsmasq"), *options)
        dnsmasq.wait_for_log(lambda log: "started" in log)
        return where

    def echo(self, port: int, host: str = "127.0.0.1") -> Address:
        """A UDP port that answers with who asked, and what."""
        echo = self.run(sys.executable, "-c", _ECHO, host, str(port))
        echo.wait_for_log(lambda log: "ready" in log)
        return Address(host, port)

    def udp_sockets(self) -> int:
        """How many UDP sockets the server has."""
        inodes = set()
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        found = 0
        for table in ("udp", "udp6"):
            lines = Path(f"/proc/{self.process.pid}/net/{table}").read_text().splitlines()[1:]
            found += sum(line.split()[9] in inodes for line in lines)
        return found


def _own_network() -> Sequence[str | Path]:
    wrapper: list[str | Path] = [require_tool("unshare"), "-n"]
    if os.getuid():
        wrapper += ["-r"]
    trial = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    if trial.returncode != 0:
        reason = f"no network namespace here: {trial.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return wrapper
