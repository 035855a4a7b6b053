"""One connection until it is known who answers it: the handshake, and the first record.

Each step is what nginx does on a TLS port, seen from outside: a look at the first byte, OpenSSL's
handshake with its alerts, a read. Then the connection goes to SSH, to the decoy, or to the real web
server.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from wraith.protocol.decoy.machine import Decoy
from wraith.protocol.first_bytes import begins_tls
from wraith.server.sockets import RECORD, WOULD_BLOCK, PlainSocket, Socket, TlsSocket
from wraith.server.splice import Splice
from wraith.server.stranger import Stranger, time_of_day
from wraith.streams.hub import READ, WRITE, running_hub, watch
from wraith.streams.log_line import log_event

if TYPE_CHECKING:
    from wraith.server.front_door import FrontDoor

_log = logging.getLogger("wraith.server")

PATIENCE = 1.0
"""Seconds in which one of ours speaks after the handshake; after them the real web server, if there
is one, is connected and waits instead of us."""

LOOK_AGAIN = 0.05
"""Seconds until a hello that is too short to choose a certificate is looked at again."""

FIRST_BYTES = 4096
"""Bytes looked at to choose a certificate, at most: a ClientHello is shorter."""


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
        self._events = watch(self._hub, self._fd, self._ready, self._events, events)

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

    def _say_who(self, wire: Socket, answered_by: str) -> None:
        address = wire.peername[0] if wire.peername is not None else "-"
        log_event(_log, logging.DEBUG, "stranger", remote_addr=address, answered_by=answered_by)

    def _answer(self, wire: Socket, early: bytes, *, plain: bool) -> None:
        self._say_who(wire, "decoy")
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
            self._say_who(waiting.wire, "upstream")
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
