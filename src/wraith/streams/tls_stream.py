"""TLS as a stream on top of another stream, for either side.

asyncio's own TLS drops the alert of a handshake that failed and has no half-close; this one sends
it, and has it. A server can look at the first bytes before it chooses how to answer. Where the
stream below is one of our sockets, OpenSSL takes that (`SealedSocket`); over any other it works
between two buffers in memory (`BufferedSealing`). What either costs is measured in decision 027.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Self

from wraith.streams.direct import DirectReceiver
from wraith.streams.hub import running_hub
from wraith.streams.opened_records import OPEN_AT_ONCE, OpenedRecords
from wraith.streams.sealed_socket import SealedSocket, Sealer
from wraith.streams.sealing import BufferedSealing, Handshake
from wraith.streams.socket_stream import HIGH_WATER, SocketStream

FIRST_BYTES = 64 * 1024
"""Bytes that a server looks at, at most, before it must have chosen how to answer."""

Opening = Callable[[bytes], "ssl.SSLContext | asyncio.Protocol | None"]
"""How a server answers, by the first bytes that came in.

A context to answer with; None to be asked again when more has come; or a protocol that takes the
stream below, from its first byte on: then the protocol on top hears no more.
"""


class TlsStream(OpenedRecords, DirectReceiver, Sealer):
    """A stream to the protocol above it, a protocol to the stream below.

    On the server's side `connection_made` is called at once and the handshake follows, under the
    deadline that the protocol has for strangers; what is written meanwhile is kept. A failed
    handshake is a lost connection, with the `ssl.SSLError`.
    """

    takes_at_once = True

    def __init__(
        self,
        protocol: asyncio.Protocol,
        opening: ssl.SSLContext | Opening,
        *,
        server_name: str | None = None,
        on_secured: Callable[[TlsStream], None] | None = None,
    ) -> None:
        """The server's side, or with a `server_name` the client's.

        `on_secured` is called once, when the handshake is done and before any byte is delivered.
        """
        super().__init__(protocol)
        self._opening = opening
        self._server_name = server_name
        self._on_secured = on_secured
        self._greeted = False
        self._scratch: memoryview | None = None
        self._first = bytearray()
        self._handshake: Handshake | None = None
        self._buffered: BufferedSealing | None = None  # `_sealing`, where it must be fed
        self._early = bytearray()  # written before the handshake was done
        self._wrote_eof = self._full = self._below_full = False
        self._error: Exception | None = None

    @classmethod
    def taken_over(cls, protocol: asyncio.Protocol, handshake: Handshake) -> Self:
        """The server's side of a connection on which the handshake is done already."""
        stream = cls(protocol, lambda _first: None)
        stream._handshake = handshake
        stream._held += handshake.opened
        stream._secured = stream._more = True
        return stream

    def __repr__(self) -> str:
        state = "closing" if self._closing else "open" if self._secured else "handshaking"
        return f"<TlsStream {state} reading={self.is_reading()}>"

    # The stream below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream below is there, or another one in its place."""
        assert isinstance(transport, asyncio.Transport)
        if (
            type(transport) is SocketStream
            and not self._greeted
            and self._handshake is None
            and SealedSocket.under(transport, self) is not None
        ):
            return  # it has called this again
        self._below = transport
        if self._greeted:
            return
        self._greeted = True
        if self._handshake is not None:
            # A context such as theirs may be made to read ahead (SSL_CTX_set_read_ahead).
            self._use(BufferedSealing(transport, self._handshake, reads_ahead=True))
        self._protocol.connection_made(self)
        self._deliver_soon()
        if self._server_name is not None and not self._closing:
            assert isinstance(self._opening, ssl.SSLContext)
            self._start(self._opening)

    def get_buffer(self) -> memoryview:
        """Where the stream below puts sealed bytes."""
        if self._scratch is None:
            ours = isinstance(self._below, SocketStream)
            # Only our own streams fill the buffer and hand it over in one go.
            shared = running_hub().scratch if ours else memoryview(bytearray(OPEN_AT_ONCE))
            self._scratch = shared[:OPEN_AT_ONCE]
        return self._scratch

    def buffer_updated(self, count: int) -> None:
        """Sealed bytes are there."""
        self.data_received(self.get_buffer()[:count])

    def data_received(self, data: bytes | memoryview) -> None:
        """Sealed bytes from the stream below."""
        if self._closing:
            return
        if self._buffered is None:
            self._first += data
            self._choose()
            return
        self._buffered.feed(data)
        self._work()

    def first_bytes_wait(self, first: bytes) -> None:
        """As `Sealer.first_bytes_wait`."""
        assert isinstance(self._below, SealedSocket)
        chosen = self._choice(first)
        if isinstance(chosen, ssl.SSLContext):
            self._start(chosen)
        else:
            self._below.let_through()

    def sealed_bytes_wait(self) -> None:
        """As `Sealer.sealed_bytes_wait`."""
        if not self._closing:
            self._work()

    def _choice(self, first: bytes) -> ssl.SSLContext | asyncio.Protocol | None:
        opening = self._opening
        return opening if isinstance(opening, ssl.SSLContext) else opening(first)

    def _choose(self) -> None:
        """Find out how to answer, and begin."""
        chosen = self._choice(bytes(self._first))
        if isinstance(chosen, ssl.SSLContext):
            self._start(chosen)
        elif chosen is not None:
            self._closing = True
            self._below.set_protocol(chosen)
            chosen.connection_made(self._below)
            chosen.data_received(bytes(self._first))
        elif len(self._first) > FIRST_BYTES:
            self._fail(ConnectionAbortedError("no TLS handshake begins like this"))

    def _start(self, context: ssl.SSLContext) -> None:
        below = self._below
        if isinstance(below, SealedSocket):
            if not below.begin(context, self._server_name):
                return
            self._sealing = below
        else:
            self._use(BufferedSealing.begin(below, context, self._server_name))
            assert self._buffered is not None
            self._buffered.feed(self._first)
            self._first.clear()
        self._work()

    def _use(self, buffered: BufferedSealing) -> None:
        self._sealing = self._buffered = buffered

    def eof_received(self) -> bool:
        """The stream below has ended: cleanly only if the peer has said so inside TLS before."""
        if not self._read_eof:
            self._fail(ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the peer hung up without a goodbye"))
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream below is gone."""
        self._closing = True
        if self._delivery is not None:
            self._delivery.cancel()
        self._held.clear()
        self._early.clear()
        self._protocol.connection_lost(self._error or exc)

    def pause_writing(self) -> None:
        """The stream below is full."""
        self._below_full = True
        self._tell_full()

    def resume_writing(self) -> None:
        """The stream below has room."""
        self._below_full = False
        self._tell_full()

    def _tell_full(self) -> None:
        full = self._below_full or len(self._early) > HIGH_WATER
        if full == self._full:
            return
        self._full = full
        if full:
            self._protocol.pause_writing()
        else:
            self._protocol.resume_writing()

    # The handshake

    def _work(self) -> None:
        """Go on as far as the bytes that are there allow."""
        if not self._secured:
            self._shake_hands()
        if not self._secured:
            return
        if self._paused:
            self._more = True
            self._below.pause_reading()
        else:
            self._deliver()

    def _shake_hands(self) -> None:
        sealing = self._sealing
        assert sealing is not None
        try:
            sealing.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLWantWriteError:
            sealing.wait_for_room()
        except OSError as error:
            self._fail(error)
        else:
            self._flush()
            if not self._closing:
                self._hands_shaken()

    def _hands_shaken(self) -> None:
        self._secured = True
        if self._paused:
            self._below.pause_reading()
        if self._on_secured is not None:
            self._on_secured(self)
        if self._early and not self._closing:
            early = bytes(self._early)
            self._early.clear()
            self._seal(early)
            self._tell_full()
        if self._wrote_eof and not self._closing:
            self._say_goodbye()

    def _flush(self) -> None:
        assert self._sealing is not None
        try:
            self._sealing.flush()
        except OSError as error:
            self._fail(error)

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; dropped silently once the stream is closing."""
        if self._closing:
            return
        if self._wrote_eof:
            raise RuntimeError("cannot write after write_eof()")
        if self._secured:
            self._seal(data)
            return
        self._early += data
        self._tell_full()

    def _seal(self, data: bytes | bytearray | memoryview) -> None:
        assert self._sealing is not None
        try:
            self._sealing.write(data)
        except OSError as error:
            self._fail(error)

    def can_write_eof(self) -> bool:
        """Half-close is supported: `close_notify` ends one direction (RFC 8446 section 6.1)."""
        return True

    def write_eof(self) -> None:
        """End our direction after what was written; the other goes on."""
        if self._wrote_eof or self._closing:
            return
        self._wrote_eof = True
        if self._secured:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        assert self._sealing is not None
        self.hold(self._sealing.say_goodbye())

    def hold(self, opened: bytes) -> None:
        """As `Sealer.hold`."""
        if not self._read_eof and not self._closing:
            self._held += opened
        self._more = True
        self._deliver_soon()

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._early) + self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark, in bytes."""
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes; defaults as in asyncio."""
        self._below.set_write_buffer_limits(high, low)

    # Ending

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called, or the peer is gone."""
        return self._closing

    def close(self) -> None:
        """End after what was written; during the handshake, at once."""
        if self._closing:
            return
        self._closing = True
        if self._secured and not self._wrote_eof:
            self._say_goodbye()
        self._below.close()

    def abort(self) -> None:
        """End at once; what was not sent is lost."""
        self._closing = True
        self._below.abort()

    def _fail(self, error: Exception) -> None:
        """The end, with the alert that OpenSSL may have for the peer."""
        if self._closing:
            return
        self._error = error
        self._closing = True
        if self._sealing is not None:
            with contextlib.suppress(OSError):
                self._sealing.flush()
        if self._below.get_write_buffer_size():
            self._below.abort()  # a peer that does not read gets no alert
        else:
            self._below.close()

    # What is known of the peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, `cipher` and `peercert` as asyncio has them, and what is known below."""
        tls = self._sealing.tls if self._sealing is not None else None
        if tls is not None:
            if name == "ssl_object":
                return tls
            if name == "cipher":
                return tls.cipher()
            if name == "peercert":
                return tls.getpeercert()
        return self._below.get_extra_info(name, default)
