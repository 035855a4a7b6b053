"""The front door of a stealthy server: who knocks, and who answers.

Every connection begins here, as a bare socket. It is looked at, shaken hands with as nginx would do
it, and looked at once more: one of ours goes on to SSH, everybody else meets nginx, or the decoy
that answers as nginx does. Until that is known the server says nothing that nginx would not say.

Strangers have a place of their own: they take none of the server's start-ups, and cannot earn a
penalty, since a web server that turned visitors away as sshd does would be known by it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from wraith.protocol.decoy.machine import DEFAULTS, Decoy, Settings
from wraith.protocol.first_bytes import Doorkeeper, begins_tls
from wraith.server.sockets import RECORD, WOULD_BLOCK, PlainSocket, Socket, TlsSocket
from wraith.server.splice import Splice
from wraith.server.stranger import Stranger, time_of_day
from wraith.server.upstream import Upstream
from wraith.streams.hub import READ, WRITE, running_hub
from wraith.streams.log_line import log_event
from wraith.streams.socket_stream import SocketStream
from wraith.streams.tasks import TaskSet

_log = logging.getLogger("wraith.server")

MAX_STRANGERS = 768
"""Connections that are not known to be ours, at a time; as many as Debian's nginx takes. One more
ends the one that has been idle longest, as nginx does it."""

PATIENCE = 1.0
"""Seconds in which one of ours speaks after the handshake; after them the real web server, if there
is one, is connected and waits instead of us."""

LOOK_AGAIN = 0.05
"""Seconds until a hello that is too short to choose a certificate is looked at again."""

FIRST_BYTES = 4096
"""Bytes looked at to choose a certificate, at most: a ClientHello is shorter."""

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


class Knock:
    """One connection until it is known who answers it."""

    def __init__(
        self, door: FrontDoor, sock: socket.socket, peername: tuple[str, int] | None
    ) -> None:
        self._door = door
        self._sock = sock
        self._peername = peername
        self._tls: TlsSocket | None = None
        self._over = False
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._hub = running_hub()
        self._began = self._loop.time()
        self._on_ready = self._look
        self._shaken = False
        timeout = door.settings.client_header_timeout
        self._timer = self._loop.call_later(timeout, self._too_late)
        self._patience: asyncio.TimerHandle | None = None
        self._events = READ
        self._hub.add(self._fd, self._ready, READ)

    def __repr__(self) -> str:
        state = "over" if self._over else "shaken hands" if self._shaken else "new"
        return f"<Knock {state}>"

    idle = True

    def _ready(self, _events: int) -> None:
        if not self._over:
            self._on_ready()

    # Is it TLS?

    def _look(self) -> None:
        try:
            first = self._sock.recv(FIRST_BYTES, socket.MSG_PEEK)
        except WOULD_BLOCK:
            return
        except OSError:
            first = b""
        if not first:
            self._close()
        elif begins_tls(first[0]):
            self._begin_handshake(first)
        elif self._door.upstream is not None and self._door.upstream.tls:
            self._release()
            self._send_upstream(PlainSocket(self._sock, self._peername), b"", bare=True)
        else:
            self._release()
            self._answer(PlainSocket(self._sock, self._peername), b"", plain=True)

    # The handshake

    def _begin_handshake(self, first: bytes) -> None:
        context = self._door.contexts(first)
        if context is None and len(first) < FIRST_BYTES:
            self._loop.call_later(LOOK_AGAIN, self._ready, 0)
            self._expect(0)
            return
        if context is None:
            self._close()
            return
        self._tls = TlsSocket(self._sock, context, self._peername)
        self._on_ready = self._shake_hands
        self._expect(READ)
        self._shake_hands()

    def _shake_hands(self) -> None:
        assert self._tls is not None
        try:
            done = self._tls.shake_hands()
            self._expect(READ if self._tls.flush() else READ | WRITE)
        except OSError:
            self._close()  # OpenSSL has told the client why
            return
        if done:
            self._shaken = True
            self._on_ready = self._read_first
            self._read_first()

    def _expect(self, events: int) -> None:
        if events == self._events:
            return
        if not events:
            self._hub.remove(self._fd)
        elif not self._events:
            self._hub.add(self._fd, self._ready, events)
        else:
            self._hub.expect(self._fd, events)
        self._events = events

    # Is it ours?

    def _read_first(self) -> None:
        assert self._tls is not None
        try:
            self._expect(READ if self._tls.flush() else READ | WRITE)
            record = self._tls.recv(RECORD)
        except WOULD_BLOCK:
            self._be_patient()
            return
        except OSError:
            record = b""
        if not record:
            self._close()
            return
        for_ssh = self._door.doorkeeper.admit(record, _binding(self._tls))
        self._release()
        if for_ssh is not None:
            self._door.hand_over(self._tls, for_ssh)
        elif self._door.upstream is not None:
            self._send_upstream(self._tls, record, bare=False)
        else:
            self._answer(self._tls, record, plain=False)

    def _be_patient(self) -> None:
        if self._door.upstream is not None and self._patience is None:
            self._patience = self._loop.call_later(PATIENCE, self._no_more_patience)

    def _no_more_patience(self) -> None:
        """Whoever has not spoken by now is the web server's to wait for."""
        assert self._tls is not None
        self._release()
        self._send_upstream(self._tls, b"", bare=False)

    # Who answers

    def _answer(self, wire: Socket, early: bytes, *, plain: bool) -> None:
        settings = self._door.settings
        decoy = Decoy(self._began, time_of_day, settings, plain=plain)
        stranger = Stranger(wire, decoy, settings, self._door.discard, early)
        self._door.add(stranger)
        stranger.begin()

    def _send_upstream(self, wire: Socket, early: bytes, *, bare: bool) -> None:
        waiting = _Waiting(wire)
        self._door.add(waiting)
        work = self._reach_upstream(waiting, early, bare=bare)
        self._door.tasks.spawn(work, "reach the upstream")

    async def _reach_upstream(self, waiting: _Waiting, early: bytes, *, bare: bool) -> None:
        upstream = self._door.upstream
        assert upstream is not None
        try:
            far = await upstream.open(waiting.wire, bare=bare)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            log_event(_log, logging.ERROR, "stealth upstream unreachable", reason=reason)
            far = None
        finally:
            self._door.discard(waiting)
        if waiting.gone:
            if far is not None:
                far.sock.close()
        elif far is None:
            self._answer(waiting.wire, early, plain=bare)
        else:
            splice = Splice(waiting.wire, far, self._door.discard, early)
            self._door.add(splice)
            splice.begin()

    # The end

    def _release(self) -> None:
        """Let go of the socket: somebody else takes it from here."""
        self._over = True
        self._timer.cancel()
        if self._patience is not None:
            self._patience.cancel()
        self._expect(0)
        self._door.discard(self)

    def _close(self) -> None:
        self._release()
        self._sock.close()

    def _too_late(self) -> None:
        self.give_up()

    def give_up(self) -> None:
        """End it as nginx ends a connection on which nothing was asked."""
        if self._shaken and self._tls is not None:
            self._tls.notify()
        self._close()

    def abort(self) -> None:
        """End it at once."""
        if not self._over:
            self._close()


class _Waiting:
    """A stranger while the web server is being reached."""

    idle = False

    def __init__(self, wire: Socket) -> None:
        self.wire = wire
        self.gone = False

    def __repr__(self) -> str:
        return "<_Waiting>"

    def give_up(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.gone = True
        self.wire.sock.close()


def _binding(wire: TlsSocket) -> bytes | None:
    """What this very connection is known by; None below TLS 1.3, where that is not sound."""
    if wire.tls.version() != "TLSv1.3":
        return None
    return wire.tls.get_channel_binding("tls-unique")
