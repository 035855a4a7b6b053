"""Starts the cast for one story, and sees to it that nobody stays behind."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from interop.peers.iroh import IrohClient, IrohServer
from interop.peers.keys import Key, make_key
from interop.peers.openssh import OpensshClient, OpensshServer
from interop.peers.process import Process
from interop.peers.roles import Client, ClientAsk, Pair, Server, ServerAsk
from interop.peers.tools import clean_environment
from interop.peers.wraith import WraithClient, WraithServer

T = TypeVar("T")

_SERVERS: dict[str, Callable[[Path, Key, ServerAsk], Server]] = {
    "openssh": OpensshServer,
    "wraith": WraithServer,
    "iroh": IrohServer,
}
_CLIENTS: dict[str, Callable[[Path, Server, Key, ClientAsk], Client]] = {
    "openssh": OpensshClient,
    "wraith": WraithClient,
    "iroh": IrohClient,
}
_ANY_SERVER, _ANY_CLIENT = ServerAsk(), ClientAsk()


@dataclass(frozen=True)
class Tunnel:
    """Both ends of a tunnel that is up, and the key that opened it."""

    server: Server
    client: Client
    key: Key


class Stage:
    """Everything that a story started, in one temporary folder; all ends in reverse order.

    The folder's path is short, because a Unix socket's path must be.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="interop-"))
        self._exits = ExitStack()
        self._homes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._exits.close()
        finally:
            shutil.rmtree(self.folder)

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Use a context manager until the story ends."""
        return self._exits.enter_context(context)

    def callback(self, end: Callable[[], object]) -> None:
        """Call this when the story ends."""
        self._exits.callback(end)

    def home(self, name: str) -> Path:
        """Make a folder of its own for one process or one purpose."""
        self._homes += 1
        home = self.folder / f"{name}{self._homes}"
        home.mkdir(mode=0o700)
        return home

    def key(self, name: str = "key", kind: str = "ed25519") -> Key:
        """Make a throw-away key."""
        return make_key(self.home("keys"), name, kind)

    def server(self, role: str, ask: ServerAsk) -> Server:
        """Start a server with a fresh host key."""
        server = _SERVERS[role](self.home(role), self.key("host"), ask)
        self._exits.callback(server.stop)
        return server

    def client(self, role: str, server: Server, key: Key, ask: ClientAsk = _ANY_CLIENT) -> Client:
        """Start a client and wait until its tunnel is up."""
        client = _CLIENTS[role](self.home(role), server, key, ask)
        self._exits.callback(client.stop)
        return client

    def tunnel(
        self, pair: Pair, server_ask: ServerAsk = _ANY_SERVER, client_ask: ClientAsk = _ANY_CLIENT
    ) -> Tunnel:
        """Start both ends, with a fresh key that the server knows."""
        key = self.key()
        ask = dataclasses.replace(server_ask, authorized=[*server_ask.authorized, key.public])
        server = self.server(pair.server, ask)
        return Tunnel(server, self.client(pair.client, server, key, client_ask), key)

    def process(self, command: Sequence[str | Path], **env: str) -> Process:
        """Start any other program in a clean environment."""
        home = self.home("process")
        process = Process(command, home / "log", clean_environment(home, **env))
        self._exits.callback(process.kill)
        return process
