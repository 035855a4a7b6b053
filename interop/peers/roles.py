"""What either end of a tunnel is asked for, whoever plays it.

`ServerAsk` and `ClientAsk` say what a story needs; `Server` and `Client` are what it gets. The
programs differ in their options, never in what the story may rely on.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from interop.peers.keys import Key
from interop.peers.process import Process


class Address(NamedTuple):
    """A host and a port, as Python's sockets take them."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))


Place = Address | Path
"""Where a socket listens: on TCP, or at a Unix path."""


class Pair(NamedTuple):
    """Who plays the client and who the server: `openssh` or `wraith`."""

    client: str
    server: str

    def __str__(self) -> str:
        return f"{self.client}-{self.server}"


@dataclass(frozen=True)
class ServerAsk:
    """What a story asks of the server's end."""

    authorized: Sequence[str] = ()
    """Lines of `authorized_keys`."""
    authorities: Sequence[Key] = ()
    """Trusted user certificate authorities."""
    revoked: Path | None = None
    unix_folder: Path | None = None
    """Unix sockets in this folder may be reached and bound."""
    forwarding: bool = True
    """Without it, every `direct-tcpip` is administratively prohibited."""
    sessions: bool = False
    """Wraith never offers sessions; `sshd` is told to refuse them too unless a story logs in."""
    rekey: str = ""
    keepalive: int = 0
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Names that only the server's machine can resolve."""
    transport: str = "tcp"
    """How the server is reached; only Wraith has a choice."""
    extra: Sequence[str] = ()
    """More arguments for the program that plays it."""


@dataclass(frozen=True)
class ClientAsk:
    """What a story asks of the client's end; forwards are `(listen, target)`."""

    local: Sequence[tuple[Place, Place]] = ()
    remote: Sequence[tuple[Place, Place]] = ()
    keepalive: int = 0
    extra: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)


class Server(Protocol):
    """A running server; it can die, freeze and come back at the same address with the same key."""

    address: Address
    host_key: Key
    process: Process

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Client(Protocol):
    """A running client whose interfaces are ready."""

    socks: Address
    local: Sequence[Place]
    remote: Sequence[Place]
    process: Process

    def stop(self) -> None: ...


ANY_PORT = Address("127.0.0.1", 0)
"""Loopback, and whichever port is free."""


def login_name() -> str:
    """Who runs these stories; the user that `sshd` can log in without being root."""
    return pwd.getpwuid(os.getuid()).pw_name


_handed_out: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """Find a port that is free now, for programs that cannot pick one themselves.

    The kernel may offer the same number twice before anybody has bound it; here it comes once.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port = int(probe.getsockname()[1])
    if port in _handed_out:
        return free_port(host)
    _handed_out.add(port)
    return port


@contextmanager
def unused_port(host: str = "127.0.0.1") -> Iterator[Address]:
    """A port that nobody listens on, and that nobody else can take meanwhile."""
    with socket.socket() as holder:
        holder.bind((host, 0))
        yield Address(host, holder.getsockname()[1])
