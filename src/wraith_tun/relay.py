"""Bytes between an application's connection and the proxy's, in both directions.

Each half ends in its own time. What one side does not take waits, and the other is read no more
meanwhile, so a relay holds one piece in each direction. A side that breaks resets the other, so
that a truncated transfer never looks complete.
"""

import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable

from wraith_tun.loop import FOREVER, IN, OUT, Loop, Work

PIECE = 256 * 1024
TURNS = 4
"""Pieces that one half may carry before it is another's turn."""

_SIOCOUTQ = 0x5411
_TCP_CLOSE = 7
_LINGER_ZERO = struct.pack("ii", 1, 0)

_scratch = memoryview(bytearray(PIECE))


class _Half:
    """One direction."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.rest = memoryview(b"")
        self.over = False

    def waits_for(self, sock: socket.socket) -> int:
        """The events of a socket by which it would go on."""
        if self.over or sock is not (self.sink if self.rest else self.source):
            return 0
        return OUT if self.rest else IN

    def carry(self, sent: Callable[[], None]) -> None:
        """Carry what is there, as far as it is taken."""
        for _ in range(TURNS):
            try:
                piece = self.rest or _scratch[: self.source.recv_into(_scratch)]
            except BlockingIOError:
                return
            if not piece:
                self.over = True
                self.sink.shutdown(socket.SHUT_WR)
                return
            size = len(piece)
            try:
                done = self.sink.send(piece)
            except BlockingIOError:
                done = 0
            if done < size or self.rest:
                self.rest = piece[done:] if self.rest else memoryview(bytes(piece[done:]))
            sent()
            if done < size or size < PIECE:  # the sink is full, or the source is empty
                return


def relay(
    loop: Loop, app: socket.socket, upstream: socket.socket, sent: Callable[[], None]
) -> Work[None]:
    """Carry bytes until both directions are over, or one breaks; then both sockets are closed.

    `sent` is called after each piece: who feeds a device must empty it, too.
    """
    halves = _Half(app, upstream), _Half(upstream, app)
    loop.allow(FOREVER)
    try:
        while not all(half.over for half in halves):
            for sock in (app, upstream):
                loop.wait(sock, halves[0].waits_for(sock) | halves[1].waits_for(sock))
            ready = yield
            for half in halves:
                if ready is not None and half.waits_for(ready):
                    half.carry(sent)
        loop.close(upstream)
        loop.wait(app, 0)
        while not _drained(app):  # else what it has not read yet would be lost with the flow
            with contextlib.suppress(TimeoutError):
                loop.allow(1)
                yield
    except OSError:
        for sock in (app, upstream):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    finally:
        loop.close(app, upstream)


def _drained(app: socket.socket) -> bool:
    """Whether the application has got everything: one byte, for our FIN, may be on its way."""
    (unsent,) = struct.unpack("i", fcntl.ioctl(app, _SIOCOUTQ, bytes(4)))
    return unsent <= 1 or app.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
