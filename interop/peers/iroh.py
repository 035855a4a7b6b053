"""Wraith over iroh: both ends on loopback, without a relay."""

from __future__ import annotations

from pathlib import Path

from interop.peers.keys import Key
from interop.peers.roles import Server
from interop.peers.wraith import WraithClient, WraithServer, who

NO_RELAY = ("--iroh-relay", "disabled")


class IrohServer(WraithServer):
    """`wraith serve --listen iroh://…`; its id stays over a restart, as its key does."""

    id = ""

    def _reached(self, url: str) -> str:
        self.id, _, address = url.removeprefix("iroh://").partition("@")
        return address

    def _listen(self) -> list[str | Path]:
        return ["--listen", f"iroh://{self.address}", *NO_RELAY]


class IrohClient(WraithClient):
    """`wraith connect --peer ID@ADDR:PORT`."""

    def _reach(self, server: Server, key: Key) -> list[str | Path]:
        return reach(server, key)


def reach(server: Server, key: Key) -> list[str | Path]:
    """The options that lead to a server, for `wraith connect` and `wraith stream`."""
    assert isinstance(server, IrohServer)
    peer = f"{server.id}@{server.address}"
    return ["--transport", "iroh", "--peer", peer, *NO_RELAY, *who(key)]
