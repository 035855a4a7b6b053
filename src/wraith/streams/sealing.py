"""OpenSSL at work on one connection: what a `TlsStream` asks of it, and the way over any stream.

    TlsStream ──write──► seal ──► outgoing ──► stream below
    TlsStream ◄──read─── open ◄── incoming ◄── stream below

Between two buffers in memory every byte of the peer's goes through our hands, and every byte of
ours is sent by us. On a bare socket there is a shorter way: `SealedSocket`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self, cast

RECORD = 16384
"""The most that one record holds (RFC 8446 section 5.1)."""

SEAL_AT_ONCE = 256 * 1024
"""Bytes sealed before they are sent: about one large packet of SSH. Fewer would stay in the
processor's cache, and cost more in calls than that saves."""

UNREAD_ANSWERS = 64 * 1024
"""Answers to key updates that wait for the peer to read; whoever asks for more is cut off."""

Opener = ssl.SSLObject | ssl.SSLSocket
"""What has `do_handshake`, `read`, `write` and `pending`."""


def reader_of(tls: Opener) -> Callable[[int, memoryview], int]:
    """What reads the content of a record into a buffer, as `tls.read` does, and returns its size.

    It is the method that Python's own one calls, where it is there: for each record the call in
    between costs as much as all that we do.
    """
    inner: Any = getattr(tls, "_sslobj", None)
    read: Any = tls.read if inner is None else inner.read  # the stubs know only the other form
    return cast(Callable[[int, memoryview], int], read)


class Sealing(Protocol):
    """Where the records of one connection come from and go to.

    Whoever reads from `tls` may meet `ssl.SSLWantWriteError`, and then asks `wait_for_room`.
    """

    @property
    def tls(self) -> Opener:
        """OpenSSL's side of it."""
        ...

    @property
    def heard_goodbye(self) -> bool:
        """Whether the end was met by `say_goodbye`; then nothing can be read any more."""
        ...

    def has_more(self) -> bool:
        """Whether another record may be opened without a new byte of the peer's."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Seal bytes and send them. Raises `OSError`."""
        ...

    def flush(self) -> None:
        """Send what OpenSSL had to say for itself. Raises `OSError` for a peer that reads none."""
        ...

    def wait_for_room(self) -> None:
        """Read no more until OpenSSL can say what it must say first."""
        ...

    def no_more_to_read(self) -> None:
        """The peer has said goodbye."""
        ...

    def say_goodbye(self) -> bytes:
        """Send `close_notify` after what was written (RFC 8446 section 6.1).

        OpenSSL then looks for the peer's and takes a record with data for an error, for good. What
        had to be opened before is returned.
        """
        ...


@dataclass(frozen=True, slots=True)
class Handshake:
    """A handshake that somebody else has done, on the server's side, and where it got to."""

    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    opened: bytes = b""
    """What was read inside TLS already; it is delivered first."""


class BufferedSealing:
    """OpenSSL between two buffers in memory, over any stream."""

    heard_goodbye = False

    def __init__(
        self, below: asyncio.Transport, handshake: Handshake, *, reads_ahead: bool = False
    ) -> None:
        """`reads_ahead`: whether OpenSSL may hold records that it has not opened."""
        self.tls: Opener = handshake.tls
        self._below = below
        self._incoming, self._outgoing = handshake.incoming, handshake.outgoing
        self._reads_ahead = reads_ahead
        self._answers = 0

    @classmethod
    def begin(
        cls, below: asyncio.Transport, context: ssl.SSLContext, server_name: str | None
    ) -> Self:
        """The server's side, or with a `server_name` the client's."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(
            incoming, outgoing, server_side=server_name is None, server_hostname=server_name
        )
        return cls(below, Handshake(tls, incoming, outgoing))

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Sealed bytes of the peer's."""
        self._incoming.write(data)

    def has_more(self) -> bool:
        """As `Sealing.has_more`."""
        return bool(self._reads_ahead or self._incoming.pending or self.tls.pending())

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As `Sealing.write`."""
        view = memoryview(data)
        while len(view) > SEAL_AT_ONCE + RECORD:  # no crumb is left for a write of its own
            self._seal(view[:SEAL_AT_ONCE])
            view = view[SEAL_AT_ONCE:]
        if view:
            self._seal(view)

    def _seal(self, data: memoryview) -> None:
        write, sealed, size = self.tls.write, 0, len(data)
        while sealed < size:
            sealed += write(data[sealed:])
        self._send()

    def _send(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

    def flush(self) -> None:
        """As `Sealing.flush`: a handshake, an alert, an answer (RFC 8446 section 4.6.3)."""
        if not self._outgoing.pending:
            return
        self._answers += self._outgoing.pending
        self._send()
        if not self._below.get_write_buffer_size():
            self._answers = 0
        elif self._answers > UNREAD_ANSWERS:
            raise ConnectionAbortedError("the peer asks for new keys and does not read")

    def wait_for_room(self) -> None:
        """As `Sealing.wait_for_room`; there always is some."""

    def no_more_to_read(self) -> None:
        """As `Sealing.no_more_to_read`; the stream below tells of its own end."""

    def say_goodbye(self) -> bytes:
        """As `Sealing.say_goodbye`; what has come is opened first."""
        held = bytearray()
        with contextlib.suppress(ssl.SSLError):  # nothing more; or what the next reading meets
            while data := self.tls.read(RECORD):
                held += data
        with contextlib.suppress(ssl.SSLError):  # the peer's goodbye is not there yet
            self.tls.unwrap()
        self._send()
        return bytes(held)
