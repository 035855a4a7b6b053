"""Non-blocking sockets, with TLS and without, that end exactly as they are told to.

A stream hides how a connection ended and sends its own goodbye. Who is to be taken for another
server must choose: close_notify or none, and what is left unread when the socket is closed, which
the kernel answers with a reset. So here OpenSSL works in memory, and the socket is read only when
somebody asks.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Protocol

from wraith.streams.relay import LINGER_ZERO
from wraith.streams.sealing import Handshake

WOULD_BLOCK = (BlockingIOError, InterruptedError)

RECORD = 16 * 1024

READ_AHEAD = 16 * 1024 + 325
"""Bytes taken from the kernel at a time: what nginx's OpenSSL takes, which reads ahead as far as
the largest record of TLS 1.2 (RFC 5246, section 6.2.3, and OpenSSL's own allowance)."""


class Socket(Protocol):
    """What both kinds offer.

    `recv` and `send` raise `BlockingIOError` when they would have to wait, and another `OSError`,
    such as an `ssl.SSLError`, when it is over.
    """

    sock: socket.socket
    """The socket itself."""

    peername: tuple[str, int] | None
    """Whom it speaks for, host and port; None if it is gone already."""

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        ...

    def send(self, data: bytes) -> int:
        """Send some of the data and return how much."""
        ...

    def flush(self) -> bool:
        """Whether the kernel has taken all that was sent."""
        ...

    def notify(self) -> None:
        """Say goodbye, where there is a way to say it; the peer's is not waited for."""
        ...


class PlainSocket:
    """A socket as it is."""

    def __init__(self, sock: socket.socket, peername: tuple[str, int] | None = None) -> None:
        self.sock = sock
        self.peername = peername

    def __repr__(self) -> str:
        return f"<PlainSocket {self.sock.fileno()}>"

    def recv(self, size: int) -> bytes:
        """As `Socket.recv`."""
        return self.sock.recv(size)

    def send(self, data: bytes) -> int:
        """As `Socket.send`."""
        return self.sock.send(data)

    def flush(self) -> bool:
        """As `Socket.flush`."""
        return True

    def notify(self) -> None:
        """As `Socket.notify`: its goodbye is the FIN."""


class TlsSocket:
    """A socket with TLS on it: the server's side, or with `client` the other one.

    `server_name` is the client's SNI. Before anything else `shake_hands` must have returned True.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        peername: tuple[str, int] | None = None,
        *,
        client: bool = False,
        server_name: str | None = None,
    ) -> None:
        self.sock = sock
        self.peername = peername
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=not client, server_hostname=server_name
        )
        self._sealed = b""

    def __repr__(self) -> str:
        return f"<TlsSocket {self.sock.fileno()}>"

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is done.

        Raises `OSError` when it has failed; the peer has OpenSSL's alert then.
        """
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                try:
                    self._fill()
                except WOULD_BLOCK:
                    return False
            except ssl.SSLError:
                self._send_alert()
                raise
            else:
                self.flush()
                return True

    def handshake(self, opened: bytes) -> Handshake:
        """What a stream needs to go on with this connection; nothing may be left to send."""
        return Handshake(self.tls, self.incoming, self.outgoing, opened)

    def _fill(self) -> None:
        data = self.sock.recv(READ_AHEAD)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def recv(self, size: int) -> bytes:
        """As `Socket.recv`, at most the rest of one record; b"" also after a bare FIN, if the
        context ignores unexpected ends, else `ssl.SSLEOFError`."""
        while True:
            try:
                data = self.tls.read(size)
            except ssl.SSLWantReadError:
                self._fill()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError:
                self._send_alert()
                raise
            else:
                if self.outgoing.pending:  # an answer to a key update
                    self.flush()
                return data

    def send(self, data: bytes) -> int:
        """As `Socket.send`: at most a record, and the next when the kernel has taken that."""
        if not self.flush():
            raise BlockingIOError
        sent = self.tls.write(data[:RECORD])
        self.flush()
        return sent

    def flush(self) -> bool:
        """As `Socket.flush`."""
        self._sealed += self.outgoing.read()
        with contextlib.suppress(*WOULD_BLOCK):
            while self._sealed:
                self._sealed = self._sealed[self.sock.send(self._sealed) :]
        return not self._sealed

    def notify(self) -> None:
        """As `Socket.notify`: close_notify (RFC 8446, section 6.1)."""
        with contextlib.suppress(OSError):
            self.tls.unwrap()
        self._send_alert()

    def _send_alert(self) -> None:
        """Send what OpenSSL has to say at the end; a peer that is gone need not hear it."""
        with contextlib.suppress(OSError):
            self.flush()


def end_writing(sock: socket.socket) -> None:
    """Send a FIN, if the connection is still there."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    sock.close()
