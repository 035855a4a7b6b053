"""A connected socket as a stream, read and written through the hub.

It does what asyncio's own socket transport does, and one thing more: it can give its socket away.
The SSH link and the lean channels work on bare sockets, and a connection may begin as a stream, for
its handshake, and go on as a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from wraith.streams.direct import DirectReceiver
from wraith.streams.hub import READ, WRITE, Hub, running_hub, watch

CHUNK = 64 * 1024
HIGH_WATER = 64 * 1024


class SocketStream(asyncio.Transport):
    """The stream of a non-blocking, connected stream socket; made by `open_socket_stream`.

    `peername` is told in place of the socket's own, where it is known to speak for somebody else.
    """

    takes_at_once = True

    __slots__ = (
        "_broken",
        "_closing",
        "_direct",
        "_events",
        "_fd",
        "_full",
        "_high",
        "_hub",
        "_low",
        "_peername",
        "_protocol",
        "_read_eof",
        "_sock",
        "_unsent",
        "_wrote_eof",
    )

    def __init__(
        self,
        sock: socket.socket,
        protocol: asyncio.Protocol,
        hub: Hub | None = None,
        *,
        peername: tuple[str, int] | None = None,
    ) -> None:
        super().__init__()
        self._peername = peername
        self._sock: socket.socket | None = sock
        self._fd = sock.fileno()
        self._hub = running_hub() if hub is None else hub
        self._protocol = protocol
        self._direct = protocol if isinstance(protocol, DirectReceiver) else None
        self._events = READ
        self._unsent = bytearray()
        self._full = self._closing = self._broken = self._wrote_eof = self._read_eof = False
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._hub.add(self._fd, self._ready, READ)
        try:
            protocol.connection_made(self)
        except BaseException:
            self._hub.remove(self._fd)  # before its number is somebody else's
            raise

    def __repr__(self) -> str:
        state = "closed" if self._sock is None else "closing" if self._closing else "open"
        return f"<SocketStream {state} reading={self.is_reading()} unsent={len(self._unsent)}>"

    # Events

    def _ready(self, events: int) -> None:
        if events & WRITE and self._unsent:
            self._drain()
        if events & ~WRITE and self._sock is not None:
            if self._events & READ:
                self._read()
            elif not events & WRITE:
                # Trouble on a socket that is not read: a peer that has gone cannot be waited for.
                self._fail(ConnectionResetError("the peer is gone"))

    def _expect(self, events: int) -> None:
        self._events = watch(self._hub, self._fd, self._ready, self._events, events)

    def _read(self) -> None:
        assert self._sock is not None
        direct = self._direct
        if direct is not None:
            buffer, size = direct.get_buffer(), 0
        else:
            buffer, size = self._hub.scratch, CHUNK
        try:
            count = self._sock.recv_into(buffer, size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        try:
            if not count:
                self._end_of_file()
            elif direct is not None:
                direct.buffer_updated(count)
            else:
                self._protocol.data_received(bytes(buffer[:count]))
        except Exception as error:
            self._fault(error)

    def _end_of_file(self) -> None:
        self._read_eof = True
        self._expect(self._events & ~READ)
        if not self._protocol.eof_received():
            self.close()

    def _fault(self, error: Exception) -> None:
        """The protocol raised: that is the end of this connection, and of no other."""
        context = {"message": "a protocol failed", "exception": error, "transport": self}
        asyncio.get_running_loop().call_exception_handler(context)
        self.abort()

    def _fail(self, error: OSError) -> None:
        if not self._broken:
            self._broken = True
            self._end(error)

    # The protocol on top

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the stream to another protocol."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol
        self._direct = protocol if isinstance(protocol, DirectReceiver) else None

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that now reads the stream."""
        return self._protocol

    # Reading

    def is_reading(self) -> bool:
        """Whether received bytes are delivered."""
        return bool(self._events & READ) and not self._closing

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""
        if self._sock is not None and not self._closing:
            self._expect(self._events & ~READ)

    def resume_reading(self) -> None:
        """Deliver again; after the end-of-file there is nothing more to deliver."""
        if self._sock is not None and not self._closing and not self._read_eof:
            self._expect(self._events | READ)

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; dropped silently once the stream is closing."""
        if self._closing or self._sock is None:
            return
        if self._wrote_eof:
            raise RuntimeError("cannot write after write_eof()")
        if not self._unsent:
            try:
                sent = self._send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._fail(error)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
            self._expect(self._events | WRITE)
        self._unsent += data
        if len(self._unsent) > self._high and not self._full:
            self._full = True
            try:
                self._protocol.pause_writing()
            except Exception as error:
                self._fault(error)

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes of it the kernel has taken."""
        assert self._sock is not None
        return self._sock.send(data)

    def _drain(self) -> None:
        try:
            sent = self._send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        del self._unsent[:sent]
        if self._full and len(self._unsent) <= self._low:
            self._full = False
            try:
                self._protocol.resume_writing()
            except Exception as error:
                self._fault(error)
        if not self._unsent:
            self._drained()

    def _drained(self) -> None:
        if self._sock is None:
            return
        self._expect(self._events & ~WRITE)
        if self._wrote_eof:
            self._shut()
        if self._closing:
            self._end(None)

    def _shut(self) -> None:
        assert self._sock is not None
        with contextlib.suppress(OSError):  # reset by the peer: the next read says so
            self._sock.shutdown(socket.SHUT_WR)

    def can_write_eof(self) -> bool:
        """Half-close is supported."""
        return True

    def write_eof(self) -> None:
        """End our direction after what was written."""
        if self._wrote_eof or self._closing or self._sock is None:
            return
        self._wrote_eof = True
        if not self._unsent:
            self._shut()

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._unsent)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark, in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes; defaults as in asyncio (64 KiB, and a quarter of it)."""
        self._high = HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low

    # Ending

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called, or the peer is gone."""
        return self._closing

    def close(self) -> None:
        """End after what was written."""
        if self._closing or self._sock is None:
            return
        self._closing = True
        self._expect(self._events & ~READ)
        if not self._unsent:
            self._end(None)

    def abort(self) -> None:
        """End at once; what was not sent is lost."""
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        if self._sock is None:
            return
        self._closing = True
        self._hub.remove(self._fd)
        self._events = 0
        self._unsent.clear()
        self._sock.close()
        self._sock = None
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

    def detach(self) -> socket.socket | None:
        """Give the socket away and be closed; None if there is still something to send.

        The protocol hears nothing of it: whoever asks knows.
        """
        if self._sock is None or self._unsent or self._closing:
            return None
        sock, self._sock = self._sock, None
        self._closing = True
        self._hub.remove(self._fd)
        self._events = 0
        return sock

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`socket`, `peername` and `sockname`, as asyncio's transports have them."""
        if self._sock is None:
            return default
        if name == "socket":
            return self._sock
        try:
            if name == "peername":
                return self._peername or self._sock.getpeername()
            if name == "sockname":
                return self._sock.getsockname()
        except OSError:
            pass
        return default


async def open_socket_stream(sock: socket.socket, protocol: asyncio.Protocol) -> asyncio.Transport:
    """The stream of a connected socket, which must be non-blocking, with its protocol set.

    On a loop that cannot watch descriptors (Windows) it is asyncio's own transport.
    """
    try:
        return SocketStream(sock, protocol)
    except NotImplementedError:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        return transport
