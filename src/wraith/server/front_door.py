"""The front door of a stealthy server: who knocks, and who answers.

Every connection begins here, as a bare socket. It is looked at, shaken hands with as nginx would do
it, and looked at once more: one of ours goes on to SSH, everybody else meets nginx, or the decoy
that answers as nginx does. Until that is known the server says nothing that nginx would not say.

Strangers have a place of their own: they take none of the server's start-ups, and cannot earn a
penalty, since a web server that turned visitors away as sshd does would be known by it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from wraith.protocol.decoy.machine import DEFAULTS, Settings
from wraith.protocol.first_bytes import Doorkeeper
from wraith.server.knock import Knock
from wraith.server.sockets import TlsSocket
from wraith.server.upstream import Upstream
from wraith.streams.socket_stream import SocketStream
from wraith.streams.tasks import TaskSet

MAX_STRANGERS = 768
"""Connections that are not known to be ours, at a time; as many as Debian's nginx takes. One more
ends the one that has been idle longest, as nginx does it."""

Contexts = Callable[[bytes], ssl.SSLContext | None]
"""Gives the context for a connection that begins with these bytes; None to be asked with more."""

HandOver = Callable[[TlsSocket, bytes], None]
"""Called with a connection of ours, its handshake done, and what of its first record is for SSH."""


class Guest(Protocol):
    """Somebody who is being answered; its owner is told when that is over."""

    @property
    def idle(self) -> bool:
        """Whether nothing is lost if it is given up."""
        ...

    def give_up(self) -> None:
        """End it, politely if possible."""
        ...

    def abort(self) -> None:
        """End it at once."""
        ...


class FrontDoor:
    """Answers connections, with contexts that have nginx's manners (`transports.as_nginx`)."""

    def __init__(
        self,
        contexts: Contexts,
        hand_over: HandOver,
        *,
        doorkeeper: Doorkeeper,
        upstream: Upstream | None = None,
        settings: Settings = DEFAULTS,
    ) -> None:
        self.contexts = contexts
        self.hand_over = hand_over
        self.doorkeeper = doorkeeper
        self.upstream = upstream
        self.settings = settings
        self.tasks = TaskSet("front door")
        self._guests: dict[Guest, None] = {}

    def __repr__(self) -> str:
        return f"<FrontDoor guests={len(self._guests)} upstream={self.upstream}>"

    def __len__(self) -> int:
        return len(self._guests)

    def knock(self, sock: socket.socket, peername: tuple[str, int] | None) -> None:
        """Take an accepted, non-blocking socket, and whom it speaks for."""
        if len(self._guests) >= MAX_STRANGERS:
            self._make_room()
        self.add(Knock(self, sock, peername))

    def _make_room(self) -> None:
        guest = next((guest for guest in self._guests if guest.idle), next(iter(self._guests)))
        self._guests.pop(guest, None)
        guest.give_up()

    def add(self, guest: Guest) -> None:
        """Somebody is being answered from now on."""
        self._guests[guest] = None

    def discard(self, guest: Guest) -> None:
        """Somebody is not answered any more, or by somebody else."""
        self._guests.pop(guest, None)

    async def close(self) -> None:
        """End everybody who is no session of ours."""
        await self.tasks.close()
        for guest in list(self._guests):
            guest.abort()
        self._guests.clear()


class Caller(asyncio.Protocol):
    """Stands on an accepted stream for the moment that it takes to bring its socket to the door."""

    def __init__(self, door: FrontDoor) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket out of the stream."""
        assert isinstance(transport, SocketStream), "a front door needs a loop with a hub"
        peername = transport.get_extra_info("peername")
        sock = transport.detach()
        assert sock is not None, "nothing has been written yet"
        self._door.knock(sock, peername[:2] if peername is not None else None)
