"""The limits: no tunnel at all, and a SOCKS5 proxy that encrypts nothing."""

from __future__ import annotations

import shutil

from bench.peers.base import Link, Peer, Tunnel, program, short_link
from bench.processes import free_port


class Direct(Peer):
    """Plain TCP between the load generator and its origin."""

    name = "direct TCP"
    note = "no proxy"
    is_limit = True
    has_client = False
    has_datagrams = True

    def __init__(self) -> None:
        super().__init__()
        self._link: Link = short_link
        self._linked: dict[int, int] = {}

    def start(self, link: Link = short_link) -> None:
        self._link = link

    def route(self, origin: dict[str, int]) -> dict[str, int]:
        for port in origin.values():
            if port not in self._linked:
                self._linked[port] = self._link(port)
        return {name: self._linked[port] for name, port in origin.items()}


class Microsocks(Tunnel):
    """One process; what it costs to be a SOCKS5 proxy with a thread a connection."""

    name = "microsocks"
    note = "SOCKS5 proxy, no encryption, one process"
    is_limit = True
    crosses_link = False

    @classmethod
    def missing(cls) -> str | None:
        return None if program("microsocks") else "not installed (apt: microsocks)"

    def start_server(self) -> int:
        return 0

    def launch_client(self, port: int) -> None:
        del port
        self.socks_port = free_port()
        argv = [program("microsocks") or "", "-i", "127.0.0.1", "-p", str(self.socks_port)]
        self.client.spawn(self.note_command(argv), quiet=True)  # it prints a line a connection


_DANTE = """\
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: none
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
"""
# The last line is about answers, too, and `bench.tun` has its origin elsewhere.


class Dante(Tunnel):
    """A plain SOCKS5 proxy that has datagrams, which microsocks has not."""

    name = "dante"
    note = "SOCKS5 proxy with UDP, no encryption"
    is_limit = True
    crosses_link = False
    has_datagrams = True

    @classmethod
    def missing(cls) -> str | None:
        return None if _dante() else "not installed (apt: dante-server)"

    def start_server(self) -> int:
        return 0

    def launch_client(self, port: int) -> None:
        del port
        self.socks_port = free_port()
        config = self.directory / "danted.conf"
        config.write_text(_DANTE.format(port=self.socks_port))
        argv = [_dante(), "-f", str(config), "-p", str(self.directory / "danted.pid")]
        self.client.spawn(self.note_command(argv))


def _dante() -> str:
    return program("danted") or program("sockd") or shutil.which("danted", path="/usr/sbin") or ""
