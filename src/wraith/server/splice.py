"""A stranger's connection joined to the real web server, its ends and all.

Between the two are only bytes and endings, and each ending is passed on as what it was: a
close_notify as a close_notify, a bare FIN as a bare FIN, a reset as a reset. At most one piece of
`CHUNK` bytes waits in each direction; who does not read stops the other from being read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from enum import Enum, auto

from wraith.server.sockets import WOULD_BLOCK, PlainSocket, Socket, end_writing, reset
from wraith.server.stranger import READS_AT_ONCE
from wraith.streams.hub import READ, TROUBLE, WRITE, running_hub

CHUNK = 16 * 1024

IDLE = 3600.0
"""Seconds without a byte, either way, after which both are ended; the web server's own limits are
shorter."""

PARTED = 60.0
"""Seconds without a byte after the web server's goodbye; it lingers for half of that at most."""


class _End(Enum):
    """How one side's bytes ended."""

    PROPERLY = auto()
    """With TLS's close_notify; without TLS, with a FIN."""

    ABRUPTLY = auto()
    """With a FIN inside TLS."""

    BROKEN = auto()
    """With bytes that are no TLS; OpenSSL has answered with its alert."""

    RESET = auto()


class _Side:
    """One of the two sockets."""

    def __init__(self, wire: Socket) -> None:
        self.wire = wire
        self.sock = wire.sock
        self.fd = wire.sock.fileno()
        self.unsent = b""
        """What this side has not taken yet."""

        self.stuck = False
        """Whether what it has taken is still on its way to the kernel."""

        self.end: _End | None = None
        self.events: int | None = None
        """For which the hub watches it; None if it does not."""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes from it."""
        return self.end is not None

    def read(self) -> bytes | None:
        """What came; None when there is nothing now, or no more, which `end` tells apart."""
        try:
            data = self.wire.recv(CHUNK)
        except WOULD_BLOCK:
            return None
        except ssl.SSLEOFError:
            self.end = _End.ABRUPTLY
            return None
        except ssl.SSLError:
            self.end = _End.BROKEN
            return None
        except OSError:
            self.end = _End.RESET
            return None
        if not data:
            self.end = _End.PROPERLY
        return data or None

    def write(self, data: bytes) -> bool:
        """Send what is unsent and `data`; False if this side is broken."""
        self.unsent += data
        try:
            while self.unsent:
                self.unsent = self.unsent[self.wire.send(self.unsent) :]
            self.stuck = not self.wire.flush()
        except WOULD_BLOCK:
            self.stuck = True
        except OSError:
            return False
        return True


class Splice:
    """Joins two sockets until both have ended; `on_end` is told then.

    Where they speak TLS, they have shaken hands. They are the splice's from now on. `early` was
    read from the client before.
    """

    idle = False

    def __init__(
        self,
        client: Socket,
        upstream: Socket,
        on_end: Callable[[Splice], None],
        early: bytes = b"",
    ) -> None:
        self._client, self._upstream = _Side(client), _Side(upstream)
        self._on_end = on_end
        self._parted = self._over = False
        self._loop = asyncio.get_running_loop()
        self._hub = running_hub()
        self._last = self._loop.time()
        self._limit = IDLE
        self._timer = self._loop.call_later(PARTED, self._look)
        self._early = early

    def __repr__(self) -> str:
        return f"<Splice {'over' if self._over else 'open'}>"

    def begin(self) -> None:
        """Let the bytes flow; `on_end` may be called from here."""
        self._broken(self._upstream.write(self._early))
        self._proceed()

    def give_up(self) -> None:
        """As `abort`: a connection in use has no polite end."""
        self.abort()

    def abort(self) -> None:
        """End both at once."""
        self._finish()

    def _look(self) -> None:
        left = self._last + self._limit - self._loop.time()
        if left <= 0:
            self._finish()
        else:
            self._timer = self._loop.call_later(min(left, PARTED), self._look)

    def _ready(self, events: int) -> None:
        if self._parted and events & TROUBLE and self._upstream.end is not None:
            self._reset()
        else:
            self._proceed()

    def _proceed(self) -> None:
        self._last = self._loop.time()
        for _ in range(READS_AT_ONCE):
            up = self._move(self._client, self._upstream)
            down = self._move(self._upstream, self._client)
            if not (up or down):
                break
        else:  # let others have their turn
            self._loop.call_soon(self._proceed)
        self._watch()

    def _move(self, source: _Side, sink: _Side) -> bool:
        """Carry one piece; whether anything was carried."""
        if self._over or (sink.stuck and self._broken(sink.write(b""))):
            return False
        if sink.stuck or source.ended:
            return False
        data = source.read()
        if data is None:
            self._pass_on_end(source, sink)
            return False
        return not self._broken(sink.write(data))

    def _broken(self, sound: bool) -> bool:
        """A side that cannot be written to is gone, and so is the other."""
        if not sound:
            self._reset()
        return not sound

    def _pass_on_end(self, source: _Side, sink: _Side) -> None:
        """If the source has ended, so does what goes to the sink."""
        cut_off = source is self._upstream and source.end is _End.ABRUPTLY
        if source.end is None:
            return
        if source.end is _End.RESET:
            self._reset()
        elif cut_off or source.end is _End.BROKEN or sink.ended:
            self._finish()
        elif source is self._client:
            end_writing(sink.sock)
        else:
            self._part()

    def _part(self) -> None:
        """The web server has said goodbye. What the client still says is for the kernel to answer.

        A server that lingers takes it, one that has closed answers with a reset; for that the
        client's bytes need not be decrypted any more.
        """
        if self._parted:  # after its TLS, its TCP has ended, too
            return
        self._parted, self._limit = True, PARTED
        self._client.wire.notify()
        for side in (self._client, self._upstream):
            self._expect(side, None)
            side.wire = PlainSocket(side.sock)
        end_writing(self._client.sock)

    def _watch(self) -> None:
        if self._over:
            return
        for side, other in ((self._client, self._upstream), (self._upstream, self._client)):
            reading = side.end is None and not other.stuck
            events = (READ if reading else 0) | (WRITE if side.stuck else 0)
            # Without events only trouble is reported: the reset that is to be passed on.
            quiet = events == 0 and not (self._parted and side is self._upstream)
            self._expect(side, None if quiet else events)

    def _expect(self, side: _Side, events: int | None) -> None:
        if events == side.events:
            return
        if events is None:
            self._hub.remove(side.fd)
        elif side.events is None:
            self._hub.add(side.fd, self._ready, events)
        else:
            self._hub.expect(side.fd, events)
        side.events = events

    def _reset(self) -> None:
        self._finish(rudely=True)

    def _finish(self, *, rudely: bool = False) -> None:
        if self._over:
            return
        self._over = True
        self._timer.cancel()
        for side in (self._client, self._upstream):
            self._expect(side, None)
            if rudely:
                reset(side.sock)
            else:
                side.sock.close()
        self._on_end(self)
