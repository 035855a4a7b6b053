"""What every peer can do.

A `Peer` starts, says which options make the load generator go through it, names its processes by
side, and stops. A `Tunnel` is a peer with a server and a client; the client may reach the server
over a `Link`, which turns the server's port into the port to connect to.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from bench.native import OUT
from bench.processes import Processes, wait_for_port

Link = Callable[[int], int]


def short_link(port: int) -> int:
    """The link of most measures: loopback itself."""
    return port


class Peer:
    """One system under measurement. Used once: started, measured, stopped."""

    name = ""
    note = ""
    is_limit = False  # shows what the machine can do; not a rival
    has_client = True  # False: there is no process to start, and none to weigh
    crosses_link = True
    has_datagrams = False  # SOCKS5 UDP ASSOCIATE

    def __init__(self) -> None:
        self.commands: list[str] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @classmethod
    def missing(cls) -> str | None:
        """Why this peer cannot be measured here, or None."""
        return None

    def start(self, link: Link = short_link) -> None:
        """Return when it serves. Raises `CouldNot`; `stop` is to be called all the same."""

    def stop(self) -> None:
        """End every process and remove every file. May be called twice."""

    def sides(self) -> dict[str, list[int]]:
        """Process ids of the client side and of the server side, as they are now."""
        return {}

    def pids(self) -> list[int]:
        """All processes of both sides."""
        return [pid for side in self.sides().values() for pid in side]

    def route(self, origin: dict[str, int]) -> dict[str, int]:
        """The load generator's options that lead through this peer to `origin`."""
        return origin

    @contextlib.contextmanager
    def running(self, link: Link = short_link) -> Iterator[Self]:
        """Started inside the block, stopped after it."""
        try:
            self.start(link)
            yield self
        finally:
            self.stop()


class Tunnel(Peer):
    """A SOCKS5 proxy on loopback, with a server behind it.

    Subclasses write `start_server` and `launch_client`. `directory` is theirs for files.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path()
        self.client: Processes
        self.server: Processes
        self.socks_port = 0

    def start(self, link: Link = short_link) -> None:
        self.launch_client(link(self.prepare()))
        self.wait_client()

    def prepare(self) -> int:
        """Make the files, start the server and return its port."""
        self.directory = Path(tempfile.mkdtemp(prefix="wraith-bench-"))
        self.client = Processes(self.directory / "client.log")
        self.server = Processes(self.directory / "server.log")
        return self.start_server()

    def start_server(self) -> int:
        """Start the server; return the port it accepts on."""
        raise NotImplementedError

    def host_key_fingerprint(self) -> str:
        """The server's host key as `SHA256:…`."""
        raise NotImplementedError

    def launch_client(self, port: int) -> None:
        """Start the client towards `port` and set `socks_port`; do not wait for it."""
        raise NotImplementedError

    def wait_client(self) -> None:
        """Return when the client serves."""
        wait_for_port(self.socks_port, self.client, self.server)

    def stop(self) -> None:
        if self.directory == Path():
            return
        self.client.stop()
        self.server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory = Path()

    def sides(self) -> dict[str, list[int]]:
        return {"client": self.client.pids(), "server": self.server.pids()}

    def route(self, origin: dict[str, int]) -> dict[str, int]:
        return {**origin, "socks": self.socks_port}

    def note_command(self, argv: list[str]) -> list[str]:
        """Remember a command for the report, and hand it back."""
        self.commands.append(" ".join(argv).replace(str(self.directory), "DIR"))
        return argv


def program(name: str) -> str | None:
    """The path of a program: from `bench/out/peers`, where `--setup` installs, or from PATH."""
    places = f"{OUT / 'peers'}:{OUT / 'peers' / 'bin'}"
    return shutil.which(name, path=places) or shutil.which(name)
