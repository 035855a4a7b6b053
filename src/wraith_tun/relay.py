"""Bytes between an application's connection and the proxy's, in both directions.

Each half ends in its own time. What one side does not take waits, and the other is read no more
meanwhile, so a relay holds one piece in each direction. A side that breaks resets the other, so
that a truncated transfer never looks complete.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable

PIECE = 256 * 1024
TURNS = 4
"""Pieces that one half may carry before it is another's turn."""

_SIOCOUTQ = 0x5411
_TCP_CLOSE = 7
_LINGER_ZERO = struct.pack("ii", 1, 0)

_scratch = memoryview(bytearray(PIECE))


class _Half:
    """One direction. `sent` is called after each piece: who feeds a device must empty it, too."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, sent: Callable[[], None]
    ) -> None:
        self._source, self._sink, self._sent = source, sink, sent
        self._from, self._to = source.fileno(), sink.fileno()  # a loop is slow with objects
        self._loop = asyncio.get_running_loop()
        self.over = self._loop.create_future()
        self._loop.add_reader(self._from, self._guarded, self._read)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BlockingIOError:
            pass
        except OSError as error:
            self.stop()
            if not self.over.done():
                self.over.set_exception(error)

    def _read(self) -> None:
        for _ in range(TURNS):
            size = self._source.recv_into(_scratch)
            if not size:
                self._loop.remove_reader(self._from)
                self._sink.shutdown(socket.SHUT_WR)
                if not self.over.done():  # else the relay is being given up
                    self.over.set_result(None)
                return
            done = 0
            with contextlib.suppress(BlockingIOError):
                done = self._sink.send(_scratch[:size])
            self._sent()
            if done < size:
                self._rest = memoryview(bytes(_scratch[done:size]))
                self._loop.remove_reader(self._from)
                self._loop.add_writer(self._to, self._guarded, self._write)
                return

    def _write(self) -> None:
        self._rest = self._rest[self._sink.send(self._rest) :]
        self._sent()
        if not self._rest:
            self._loop.remove_writer(self._to)
            self._loop.add_reader(self._from, self._guarded, self._read)

    def stop(self) -> None:
        self._loop.remove_reader(self._from)
        self._loop.remove_writer(self._to)


async def relay(app: socket.socket, upstream: socket.socket, sent: Callable[[], None]) -> None:
    """Carry bytes until both directions are over, or one breaks; then both sockets are closed."""
    halves = _Half(app, upstream, sent), _Half(upstream, app, sent)
    try:
        await asyncio.gather(*(half.over for half in halves))
        upstream.close()
        while not _drained(app):  # else what it has not read yet would be lost with the flow
            await asyncio.sleep(1)
    except OSError:
        for sock in (app, upstream):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    finally:
        for half in halves:
            half.stop()
        app.close()
        upstream.close()


def _drained(app: socket.socket) -> bool:
    """Whether the application has got everything: one byte, for our FIN, may be on its way."""
    (unsent,) = struct.unpack("i", fcntl.ioctl(app, _SIOCOUTQ, bytes(4)))
    return unsent <= 1 or app.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
