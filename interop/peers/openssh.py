"""OpenSSH's own programs in both roles, untouched by any configuration of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from interop.peers.keys import Key
from interop.peers.namespaces import with_private_hosts
from interop.peers.process import DidNotStart, Process
from interop.peers.roles import Address, ClientAsk, Place, Server, ServerAsk, free_port, login_name
from interop.peers.tools import clean_environment, require_tool

_PRIVILEGE_SEPARATION = Path("/run/sshd")
_ALLOCATED = re.compile(r"Allocated port (\d+) for remote forward")


class OpensshServer:
    """`sshd` on a loopback port of its own."""

    def __init__(self, home: Path, host_key: Key, ask: ServerAsk) -> None:
        self._home, self._ask = home, ask
        self.host_key = host_key
        self.address = Address("127.0.0.1", free_port())
        self.start()

    def start(self) -> None:
        """Start, or start again at the same address with the same key."""
        if os.getuid() == 0:
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        config = self._home / "sshd_config"
        config.write_text("\n".join(self._config()) + "\n")
        sshd = require_tool("sshd")
        command: list[str | Path] = [sshd, "-D", "-e", "-f", config, *self._ask.extra]
        self.process = Process(
            with_private_hosts(command, self._ask.hosts, self._home),
            self._home / "sshd.log",
            clean_environment(self._home),
        )
        self.process.wait_for_log(lambda log: "Server listening on" in log)

    def stop(self) -> None:
        """Stop the listener and every session that it has begun."""
        self.process.signal_family(signal.SIGTERM)
        self.process.stop()

    def _config(self) -> list[str]:
        ask = self._ask
        authorized = self._home / "authorized_keys"
        authorized.write_text("\n".join([*ask.authorized, ""]))
        config = [
            f"ListenAddress {self.address}",
            f"HostKey {self.host_key.path}",
            f"AuthorizedKeysFile {authorized}",
            f"AllowTcpForwarding {'yes' if ask.forwarding else 'no'}",
            f"AllowStreamLocalForwarding {'yes' if ask.unix_folder else 'no'}",
            f"ClientAliveInterval {ask.keepalive}",
            f"MaxSessions {10 if ask.sessions else 0}",
            "ClientAliveCountMax 3",
            "GatewayPorts no",
            "KbdInteractiveAuthentication no",
            "LogLevel VERBOSE",
            "MaxStartups 100",
            "PasswordAuthentication no",
            "PermitRootLogin prohibit-password",
            "PidFile none",
            "StrictModes no",
            "Subsystem sftp internal-sftp",
            "UseDNS no",
            "UsePAM no",
        ]
        if ask.rekey:
            config.append(f"RekeyLimit {ask.rekey}")
        if ask.authorities:
            trusted = self._home / "authorities"
            trusted.write_text("\n".join([*(key.public for key in ask.authorities), ""]))
            config.append(f"TrustedUserCAKeys {trusted}")
        if ask.revoked:
            config.append(f"RevokedKeys {ask.revoked}")
        if _version() >= (9, 8):
            config.append("PerSourcePenalties no")
        return config


class OpensshClient:
    """`ssh -N -D …` with the forwards that the story asked for."""

    def __init__(self, home: Path, server: Server, key: Key, ask: ClientAsk) -> None:
        self.socks = Address("127.0.0.1", free_port())
        self.local: Sequence[Place] = [_with_port(listen) for listen, _ in ask.local]
        words: list[str | Path] = ["-N", "-v", "-o", "ExitOnForwardFailure=yes"]
        words += ["-D", str(self.socks)]
        for listen, (_, target) in zip(self.local, ask.local, strict=True):
            words += ["-L", f"{listen}:{target}"]
        for listen, target in ask.remote:
            words += ["-R", f"{listen}:{target}"]
        if ask.keepalive:
            words += ["-o", f"ServerAliveInterval={ask.keepalive}"]
        self.process = Process(
            [*ssh_command(server, key, home), *ask.extra, *words, server.address.host],
            home / "ssh.log",
            clean_environment(home, **ask.env),
        )
        try:
            self.process.wait_for_log(lambda log: _ready(log, len(ask.remote)))
        except DidNotStart:
            if self.process.running:
                self.process.kill()
            raise
        ports = iter(_ALLOCATED.findall(self.process.log))
        self.remote: Sequence[Place] = [
            Address(listen.host, int(next(ports)))
            if isinstance(listen, Address) and not listen.port
            else listen
            for listen, _ in ask.remote
        ]

    def stop(self) -> None:
        self.process.stop()


def ssh_command(server: Server, key: Key, home: Path, tool: str = "ssh") -> list[str | Path]:
    """Begin a command of `ssh` or `sftp`: this server, this key, and nothing of this machine."""
    known_hosts = home / "known_hosts"
    host, port = server.address
    known_hosts.write_text(f"[{host}]:{port} {server.host_key.public}\n")
    options = [
        f"User={login_name()}",
        f"Port={port}",
        f"IdentityFile={key.path}",
        f"UserKnownHostsFile={known_hosts}",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PreferredAuthentications=publickey",
        "BatchMode=yes",
    ]
    command: list[str | Path] = [require_tool(tool), "-F", "/dev/null"]
    for option in options:
        command += ["-o", option]
    return command


def _ready(log: str, remote_forwards: int) -> bool:
    """`ssh -v` says when its own listeners are bound and when the server granted each `-R`."""
    granted = log.count("remote forward success for")
    return "Entering interactive session" in log and granted == remote_forwards


def _with_port(place: Place) -> Place:
    """`ssh -L` cannot pick a port; take one that is free."""
    if isinstance(place, Address) and not place.port:
        return Address(place.host, free_port(place.host))
    return place


@cache
def _version() -> tuple[int, int]:
    run = subprocess.run([require_tool("ssh"), "-V"], capture_output=True, text=True, check=True)
    major, minor = re.search(r"OpenSSH\D*_(\d+)\.(\d+)", run.stderr).groups()  # type: ignore[union-attr]
    return int(major), int(minor)
