"""Wraith itself, as a user would start it."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from bench.native import CouldNot
from bench.peers.base import Tunnel, program
from bench.peers.openssh import make_key
from bench.processes import START_TIMEOUT, Processes, free_port, read_line

_CHANNELS = 8192  # the default limit is lower than the number of idle channels measured


def wraith_program() -> str | None:
    """The `wraith` of this Python, of the checkout's environment, or of PATH."""
    places = [Path(sys.executable).parent, Path(".venv/bin")]
    return next(
        (str(place / "wraith") for place in places if (place / "wraith").exists()),
        program("wraith"),
    )


class Wraith(Tunnel):
    """`wraith serve` and `wraith connect` over TCP."""

    name = "wraith"
    note = "wraith serve, wraith connect"
    scheme = "tcp"
    has_datagrams = True
    serve_options: tuple[str, ...] = ()
    connect_options: tuple[str, ...] = ()
    patience = START_TIMEOUT

    def __init__(self) -> None:
        super().__init__()
        self._fingerprint = ""
        self.listens = ""
        """The server's first address, as it says it."""
        self._ready: int | None = None

    @classmethod
    def missing(cls) -> str | None:
        return None if wraith_program() else "no `wraith` beside this Python (pip install -e .)"

    def program(self) -> list[str]:
        """The command without its arguments."""
        return [wraith_program() or ""]

    def start_server(self) -> int:
        make_key(self.directory / "host_key")
        make_key(self.directory / "identity")
        argv = [
            *(*self.program(), "serve"),
            *("--listen", f"{self.scheme}://127.0.0.1:0"),
            *("--key", str(self.directory / "host_key")),
            *("--authorized-keys", str(self.directory / "identity.pub")),
            *("--max-channels", str(_CHANNELS)),
            *("--log-level", "warning"),
            *self.serve_options,
        ]
        ready = self._spawn(self.server, [*self.wrapped("server"), *argv])
        try:
            report = self._report(ready, self.server)
        finally:
            os.close(ready)
        self._fingerprint = str(report["host_key"])
        self.listens = str(report["listen"][0])
        return int(self.listens.rpartition(":")[2])

    def host_key_fingerprint(self) -> str:
        return self._fingerprint

    def launch_client(self, port: int) -> None:
        self.socks_port = free_port()
        argv = [
            *(*self.program(), "connect"),
            *self.reach(port),
            *("--socks5", f"127.0.0.1:{self.socks_port}"),
            *("--host-key", self._fingerprint),
            *("--identity", str(self.directory / "identity")),
            *("--log-level", "warning"),
            *self.connect_options,
        ]
        self._ready = self._spawn(self.client, [*self.wrapped("client"), *argv])

    def reach(self, port: int) -> tuple[str, ...]:
        """The options that lead the client to a server on this port of loopback."""
        return "--server", f"127.0.0.1:{port}"

    def wrapped(self, side: str) -> tuple[str, ...]:
        """What goes before a side's command line: nothing, unless something is to watch it."""
        return ()

    def wait_client(self) -> None:
        assert self._ready is not None
        self._report(self._ready, self.client)

    def stop(self) -> None:
        if self._ready is not None:
            os.close(self._ready)
            self._ready = None
        super().stop()

    def _spawn(self, group: Processes, argv: list[str]) -> int:
        """Start a side; the descriptor on which it will report that it is ready."""
        ready, theirs = os.pipe()
        ours = {name: value for name, value in os.environ.items() if not name.startswith("WRAITH_")}
        state = self.directory / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        try:
            group.spawn(
                [*self.note_command(argv), "--ready-fd", str(theirs)],
                pass_fds=(theirs,),
                environment={**ours, "WRAITH_STATE_DIR": str(state)},
            )
        finally:
            os.close(theirs)
        return ready

    def _report(self, ready: int, group: Processes) -> dict[str, Any]:
        line = read_line(ready, group, self.patience)
        report: dict[str, Any] = json.loads(line)
        if report.get("event") != "ready":
            raise CouldNot(f"it reported {line.strip()}")
        return report


class WraithTLS(Wraith):
    """The same inside TLS."""

    name = "wraith tls"
    note = "wraith inside TLS, a certificate of its own"
    scheme = "tls"
    serve_options = ("--tls-self-signed",)
    connect_options = ("--transport", "tls", "--insecure")


class WraithIroh(Wraith):
    """The same peer to peer over QUIC, on loopback without a relay."""

    name = "wraith iroh"
    note = "wraith serve and connect over iroh, without a relay"
    scheme = "iroh"
    crosses_link = False  # the long link is a relay of TCP
    serve_options = ("--iroh-relay", "disabled")
    connect_options = ("--transport", "iroh", "--iroh-relay", "disabled")

    @classmethod
    def missing(cls) -> str | None:
        absent = importlib.util.find_spec("iroh") is None
        return "not installed (pip: wraith-tunnel[iroh])" if absent else super().missing()

    def reach(self, port: int) -> tuple[str, ...]:
        peer = self.listens.removeprefix("iroh://").partition("@")[0]
        return "--peer", f"{peer}@127.0.0.1:{port}"
