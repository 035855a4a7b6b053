"""A socket on which OpenSSL itself reads and writes: the short way below a `TlsStream`.

Between two buffers in memory each byte is copied five times more than it need be. Here records go
straight from OpenSSL to the kernel and back (decision 027).

Nothing is taken from the socket before it is known that it will be TLS as usual: a server looks at
the first bytes in the kernel's buffer. If they ask for anything else, or are not all there yet, the
socket goes to a `SocketStream`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from typing import Self

from wraith.streams.hub import READ, WRITE
from wraith.streams.sealing import RECORD
from wraith.streams.socket_stream import SocketStream

FIRST_LOOK = 16 * 1024
"""Bytes looked at, at most, before they are taken."""

LAST_LOOK = 64 * 1024
"""Bytes of the peer's taken, at most, before a socket is closed."""

MANY_RECORDS = 64 * 1024
"""Bytes from which on the kernel is asked to wait for all of them; it makes fewer packets then."""

CORK: int | None = getattr(socket, "TCP_CORK", None)

WOULD_BLOCK = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Sealer(asyncio.Protocol):
    """The protocol of a `SealedSocket`, which reads from its `tls`."""

    def first_bytes_wait(self, first: bytes) -> None:
        """They have come and are not taken yet; answered by `begin`, `let_through` or the end."""
        raise NotImplementedError

    def sealed_bytes_wait(self) -> None:
        """There is something to read, or OpenSSL can go on where it stuck."""
        raise NotImplementedError

    def hold(self, opened: bytes) -> None:
        """What had to be read before our goodbye; it comes before all that is read later."""
        raise NotImplementedError


class SealedSocket(SocketStream):
    """A stream that is sealed once `begin` was called; the `Sealing` of its protocol."""

    __slots__ = ("_goodbye", "_sealer", "_tls", "heard_goodbye")

    def __init__(
        self, sock: socket.socket, sealer: Sealer, peername: tuple[str, int] | None = None
    ) -> None:
        self._sealer = sealer
        self._tls: ssl.SSLSocket | None = None
        self._goodbye = b""  # sealed, and not taken by the kernel yet
        self.heard_goodbye = False
        super().__init__(sock, sealer, peername=peername)

    @classmethod
    def under(cls, stream: SocketStream, sealer: Sealer) -> Self | None:
        """Take the socket from under a stream; None if it cannot give it away now."""
        sock = stream.detach()
        return None if sock is None else cls(sock, sealer, stream._peername)

    def let_through(self) -> None:
        """Deliver bytes as they come, from the first one on: by another stream."""
        sock = self.detach()
        assert sock is not None, "nothing was written yet"
        SocketStream(sock, self._sealer, self._hub, peername=self._peername)

    def begin(self, context: ssl.SSLContext, server_name: str | None) -> bool:
        """Let OpenSSL take the socket, for the server's side or with a `server_name` the client's.

        False if the peer is gone already; the protocol hears that as usual.
        """
        assert self._sock is not None
        try:
            self._sock.setblocking(False)  # the new object goes by what this one believes
            self._tls = context.wrap_socket(
                self._sock,
                server_side=server_name is None,
                server_hostname=server_name,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except OSError as error:
            self._fail(error)
            return False
        self._sock = self._tls
        return True

    @property
    def tls(self) -> ssl.SSLSocket:
        """As `Sealing.tls`."""
        assert self._tls is not None
        return self._tls

    # Reading

    def _ready(self, events: int) -> None:
        if events & WRITE and not self._unsent:
            self._go_on()
        super()._ready(events)

    def _go_on(self) -> None:
        """There is room for what is no content."""
        if self._goodbye:
            self._send_goodbye()
            return
        self._expect(READ)
        self._tell()

    def wait_for_room(self) -> None:
        """As `Sealing.wait_for_room`."""
        self._expect(WRITE)

    def _read(self) -> None:
        if self._tls is None:
            self._look()
        else:
            self._tell()

    def _tell(self) -> None:
        try:
            self._sealer.sealed_bytes_wait()
        except Exception as error:
            self._fault(error)

    def _look(self) -> None:
        assert self._sock is not None
        try:
            first = self._sock.recv(FIRST_LOOK, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        try:
            if first:
                self._sealer.first_bytes_wait(first)
            else:
                self._end_of_file()
        except Exception as error:
            self._fault(error)

    def has_more(self) -> bool:
        """As `Sealing.has_more`: OpenSSL may have read ahead, and of that the kernel is silent."""
        return True

    def no_more_to_read(self) -> None:
        """As `Sealing.no_more_to_read`: what still comes is not looked at."""
        self._read_eof = True
        self._expect(self._events & ~READ)

    # Writing

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """Seal as much as the kernel takes; what is left must be given again, as it is now."""
        with memoryview(data) as view:
            if len(view) < MANY_RECORDS:
                return self._seal(view)
            self._cork(1)
            try:
                return self._seal(view)
            finally:
                self._cork(0)

    def _seal(self, view: memoryview) -> int:
        write, sealed, size = self.tls.write, 0, len(view)
        try:
            while sealed < size:
                sealed += write(view[sealed:])
        except WOULD_BLOCK:
            pass
        return sealed

    def _cork(self, wanted: int) -> None:
        """Have the kernel collect records, which OpenSSL gives it one by one (tcp(7))."""
        if CORK is not None and self._sock is not None:
            with contextlib.suppress(OSError):  # a socket of another kind
                self._sock.setsockopt(socket.IPPROTO_TCP, CORK, wanted)

    def flush(self) -> None:
        """As `Sealing.flush`; OpenSSL has done it."""

    def get_write_buffer_size(self) -> int:
        """Bytes that OpenSSL or the kernel has not taken yet."""
        return len(self._unsent) + len(self._goodbye)

    # Ending

    def say_goodbye(self) -> bytes:
        """As `Sealing.say_goodbye`; when it comes to that, the protocol is asked to `hold`."""
        self.write_eof()
        return b""

    def _shut(self) -> None:
        try:
            self._goodbye = self._sealed_goodbye()
        except OSError as error:  # no descriptors
            self._fail(error)
            return
        self._send_goodbye()

    def _sealed_goodbye(self) -> bytes:
        """`close_notify` as a record.

        Python's `unwrap` sends it, and then reads what has come from the peer, data included. So
        for this moment the descriptor is another one, on which nothing comes; and what OpenSSL has
        taken from the right one is read before.
        """
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            real = os.dup(self._fd)
            try:
                os.dup2(ours.fileno(), self._fd, inheritable=False)
                self._sealer.hold(self._read_up())
                with contextlib.suppress(ssl.SSLError):
                    self.tls.unwrap()
                    self.heard_goodbye = True
            finally:
                os.dup2(real, self._fd, inheritable=False)
                os.close(real)
            with contextlib.suppress(BlockingIOError):
                return theirs.recv(RECORD)
        return b""

    def _read_up(self) -> bytes:
        opened = bytearray()
        with contextlib.suppress(ssl.SSLError):  # no more; or what the next reading meets
            while data := self.tls.read(RECORD):
                opened += data
        return bytes(opened)

    def _send_goodbye(self) -> None:
        assert self._sock is not None
        try:
            sent = socket.socket.send(self._sock, self._goodbye)  # past OpenSSL
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._fail(error)
            return
        self._goodbye = self._goodbye[sent:]
        self._expect(self._events | WRITE if self._goodbye else self._events & ~WRITE)
        if self._closing and not self._goodbye:
            self._end(None)

    def _drained(self) -> None:
        if self._sock is None or not self._wrote_eof:
            super()._drained()
            return
        self._expect(self._events & ~WRITE)
        self._shut()  # which ends it as well, once that is sent

    def close(self) -> None:
        """End after what was written."""
        if self._goodbye and not self._closing:
            self._closing = True
            self._expect(self._events & ~READ)
            return
        super().close()

    def _end(self, error: OSError | None) -> None:
        if self._sock is not None:
            # Unread, a ticket of the peer's would turn our last words into a reset.
            with contextlib.suppress(OSError):
                socket.socket.recv(self._sock, LAST_LOOK)
        super()._end(error)
