"""A stranger's connection: the decoy's decisions, carried out on a TLS or a plain socket.

It reads no more than the decoy asks for, writes each message in one piece, and ends as nginx would:
with close_notify or without, at once or lingering, by FIN or by reset. There is no task: the hub
calls when something can be done, and one timer says when it is too late.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from wraith.protocol.decoy.machine import Closing, Decoy, Settings
from wraith.server.sockets import WOULD_BLOCK, Socket
from wraith.streams.hub import READ, WRITE, running_hub

READS_AT_ONCE = 16
"""Reads in one go, so that one who sends much leaves the others their turn."""

LINGER_CHUNK = 4096


class Stranger:
    """Answers one connection until its end; `on_end` is told when it has come.

    `wire` has shaken hands, if it is TLS, and is the stranger's from now on. `early` was read from
    it before.
    """

    def __init__(
        self,
        wire: Socket,
        decoy: Decoy,
        settings: Settings,
        on_end: Callable[[Stranger], None],
        early: bytes = b"",
    ) -> None:
        self._wire = wire
        self._sock = wire.sock
        self._fd = wire.sock.fileno()
        self._decoy = decoy
        self._send_timeout = settings.send_timeout
        self._on_end = on_end
        self._early = early
        self._ended = False
        self._unsent: list[bytes] = []
        self._lingering = self._over = False
        self._loop = asyncio.get_running_loop()
        self._hub = running_hub()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._events = READ
        self._hub.add(self._fd, self._ready, READ)

    def __repr__(self) -> str:
        return f"<Stranger {'over' if self._over else self._decoy!r}>"

    def begin(self) -> None:
        """Read what came early and what has come since; `on_end` may be called from here."""
        self._proceed()

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come: it may be given up for somebody else."""
        return self._decoy.idle

    def give_up(self) -> None:
        """Say goodbye politely, to make room."""
        self._decoy.give_up()
        self._proceed()

    def abort(self) -> None:
        """End at once."""
        self._end()

    # Events

    def _ready(self, _events: int) -> None:
        if self._lingering:
            self._linger()
        else:
            self._proceed()

    def _proceed(self) -> None:
        if self._over:
            return
        waiting = False
        for _ in range(READS_AT_ONCE):
            if not self._flush():
                self._arm(self._loop.time() + self._send_timeout)
                return
            if self._decoy.closing is not None:
                self._close(self._decoy.closing)
                return
            if waiting:
                self._arm(self._decoy.deadline)
                return
            waiting = not self._read(self._decoy.wants())
        self._loop.call_soon(self._proceed)

    def _read(self, size: int) -> bool:
        """Read once for the decoy; False if there was nothing."""
        data, more = self._receive(size)
        now = self._loop.time()
        if data:
            self._decoy.receive_data(data, now, more=more)
        elif self._ended:
            self._decoy.receive_eof(now)
        else:
            self._decoy.receive_nothing(now)
            return False
        return True

    def _receive(self, size: int) -> tuple[bytes, bool]:
        """Up to `size` bytes, and whether there is more: bytes, or the end of them."""
        data, self._early = self._early[:size], self._early[size:]
        while len(data) < size and not self._ended:
            try:
                piece = self._wire.recv(size - len(data))
            except WOULD_BLOCK:
                return data, False
            except OSError:
                piece = b""  # broken, or not TLS any more: the client is as good as gone
            self._ended = not piece
            data += piece
        return data, True

    def _flush(self) -> bool:
        """Send what there is to send; False if the client does not take it now."""
        self._unsent += self._decoy.messages()
        while self._unsent:
            try:
                sent = self._wire.send(self._unsent[0])
            except WOULD_BLOCK:
                self._expect(WRITE)
                return False
            except OSError:
                self._unsent.clear()
                self._decoy.receive_eof(self._loop.time())
                break
            self._unsent[0] = self._unsent[0][sent:]
            if not self._unsent[0]:
                del self._unsent[0]
        flushed = self._flushed()
        self._expect(READ if flushed else WRITE)
        return flushed

    def _flushed(self) -> bool:
        try:
            return self._wire.flush()
        except OSError:  # the next read says so, too
            return True

    def _expect(self, events: int) -> None:
        if events != self._events:
            self._hub.expect(self._fd, events)
            self._events = events

    # Time

    def _arm(self, at: float | None) -> None:
        """Wake up at a time, or not at all."""
        if at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if at is None else self._loop.call_at(at, self._too_late)

    def _too_late(self) -> None:
        self._timer = self._timer_at = None
        if self._lingering or self._unsent or not self._flushed():
            self._end()
            return
        self._decoy.timed_out(self._loop.time())
        self._proceed()

    # The end

    def _close(self, closing: Closing) -> None:
        if closing is not Closing.QUIETLY and not self._ended:
            self._wire.notify()
        if closing is not Closing.LINGERING:
            self._end()
            return
        self._lingering = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._end()
            return
        self._linger()

    def _linger(self) -> None:
        """Throw away what still comes, so that the client gets to read our answer."""
        wait = self._decoy.linger(self._loop.time())
        ended = wait is None
        try:
            for _ in range(READS_AT_ONCE):
                if not ended:
                    ended = not self._sock.recv(LINGER_CHUNK)
        except WOULD_BLOCK:
            pass
        except OSError:
            ended = True
        if ended or wait is None:
            self._end()
        else:
            self._arm(self._loop.time() + wait)

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._hub.remove(self._fd)
        self._arm(None)
        self._sock.close()
        self._on_end(self)


def time_of_day() -> float:
    """Seconds since 1970, for the Date header."""
    return time.time()
