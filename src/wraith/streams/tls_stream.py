"""TLS as a stream on top of another stream, for either side.

    protocol ──write──► seal ──► outgoing ──► stream below
    protocol ◄─ bytes ─ open ◄── incoming ◄── stream below

OpenSSL works between two buffers in memory and never sees a socket. So every byte of the peer's
goes through our hands, and every byte of ours is sent, the alert of a handshake that failed too:
asyncio's own TLS drops that one. It also makes half-close possible, and lets the server look at the
first bytes before it chooses how to answer. What this costs is measured in decision 013.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from wraith.streams.direct import DirectReceiver
from wraith.streams.hub import running_hub
from wraith.streams.socket_stream import HIGH_WATER, SocketStream

RECORD = 16384
"""The most that one record holds (RFC 8446 section 5.1)."""

SEAL_AT_ONCE = 256 * 1024
"""Bytes sealed before they are sent: about one large packet of SSH. Fewer would stay in the
processor's cache, and cost more in calls than that saves."""

OPEN_AT_ONCE = 256 * 1024
"""Sealed bytes received in one go, for the same reason."""

FIRST_BYTES = 64 * 1024
"""Bytes that a server looks at, at most, before it must have chosen how to answer."""

UNREAD_ANSWERS = 64 * 1024
"""Answers to key updates that wait for the peer to read; whoever asks for more is cut off."""

Opening = Callable[[bytes], "ssl.SSLContext | asyncio.Protocol | None"]
"""How a server answers, by the first bytes that came in.

A context to answer with; None to be asked again when more has come; or a protocol that takes the
stream below, from its first byte on: then the protocol on top hears no more.
"""


@dataclass(frozen=True, slots=True)
class Handshake:
    """A handshake that somebody else has done, on the server's side, and where it got to."""

    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    opened: bytes = b""
    """What was read inside TLS already; it is delivered first."""


class TlsStream(asyncio.Transport, DirectReceiver, asyncio.Protocol):
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
        super().__init__()
        self._protocol = protocol
        self._opening = opening
        self._server_name = server_name
        self._on_secured = on_secured
        self._below: asyncio.Transport
        self._scratch: memoryview
        self._first = bytearray()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._secured = False
        self._answers = 0
        self._early = bytearray()  # written before the handshake was done
        self._held = bytearray()  # opened, and not delivered yet
        self._reads_ahead = False  # whether OpenSSL may hold records that it has not opened
        self._more = False  # whether there may be something to deliver without a new byte
        self._paused = self._closing = self._read_eof = self._wrote_eof = self._full = False
        self._below_full = False
        self._delivery: asyncio.Handle | None = None
        self._error: Exception | None = None

    @classmethod
    def taken_over(cls, protocol: asyncio.Protocol, handshake: Handshake) -> Self:
        """The server's side of a connection on which the handshake is done already."""
        stream = cls(protocol, lambda _first: None)
        stream._tls = handshake.tls
        stream._incoming, stream._outgoing = handshake.incoming, handshake.outgoing
        stream._held += handshake.opened
        stream._secured = stream._more = True
        stream._reads_ahead = True  # such a context may be made to (SSL_CTX_set_read_ahead)
        return stream

    def __repr__(self) -> str:
        state = "closing" if self._closing else "open" if self._secured else "handshaking"
        return f"<TlsStream {state} reading={self.is_reading()}>"

    # The stream below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream below is there."""
        assert isinstance(transport, asyncio.Transport)
        self._below = transport
        ours = isinstance(transport, SocketStream)
        # Only our own streams fill the buffer and hand it over in one go.
        shared = running_hub().scratch if ours else memoryview(bytearray(OPEN_AT_ONCE))
        self._scratch = shared[:OPEN_AT_ONCE]
        self._protocol.connection_made(self)
        self._deliver_soon()
        if self._server_name is not None and not self._closing:
            assert isinstance(self._opening, ssl.SSLContext)
            self._start(self._opening)

    def get_buffer(self) -> memoryview:
        """Where the stream below puts sealed bytes."""
        return self._scratch

    def buffer_updated(self, count: int) -> None:
        """Sealed bytes are there."""
        self.data_received(self._scratch[:count])

    def data_received(self, data: bytes | memoryview) -> None:
        """Sealed bytes from the stream below."""
        if self._closing:
            return
        if self._tls is None:
            self._first += data
            self._choose()
            return
        self._incoming.write(data)
        self._work()

    def _choose(self) -> None:
        """Find out how to answer, and begin."""
        opening = self._opening
        chosen = opening if isinstance(opening, ssl.SSLContext) else opening(bytes(self._first))
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
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=self._server_name is None,
            server_hostname=self._server_name,
        )
        self._incoming.write(self._first)
        self._first.clear()
        self._work()

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
        else:
            self._deliver()

    def _shake_hands(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._fail(error)
            return
        self._flush()
        self._secured = True
        if self._paused:
            self._below.pause_reading()
        if self._on_secured is not None:
            self._on_secured(self)
        if self._early and not self._closing:
            early = bytes(self._early)
            self._early.clear()
            self._seal(memoryview(early))
            self._tell_full()
        if self._wrote_eof and not self._closing:
            self._say_goodbye()

    # Reading

    def _deliver(self) -> None:
        """Hand on whatever can be opened."""
        self._more = True
        if self._held:
            self._deliver_held()
        protocol: object = self._protocol
        if isinstance(protocol, DirectReceiver):
            self._deliver_into(protocol)
        else:
            self._deliver_pieces()
        if self._outgoing.pending:
            self._answer()

    def _answer(self) -> None:
        """Send the answer to a key update (RFC 8446 section 4.6.3), to a peer that reads them."""
        self._answers += self._outgoing.pending
        self._flush()
        if not self._below.get_write_buffer_size():
            self._answers = 0
        elif self._answers > UNREAD_ANSWERS:
            self._fail(ConnectionAbortedError("the peer asks for new keys and does not read"))

    def _may_deliver(self) -> bool:
        return not (self._paused or self._closing or self._read_eof)

    def _deliver_into(self, receiver: DirectReceiver) -> None:
        """Open records straight into the receiver's buffer, as many as it takes at a time."""
        assert self._tls is not None
        read, pending, incoming = self._tls.read, self._tls.pending, self._incoming
        while self._may_deliver():
            now: object = self._protocol
            if now is not receiver:
                self._deliver()
                return
            space = receiver.get_buffer()
            size, filled, ended = len(space), 0, False
            error: ssl.SSLError | None = None
            try:
                while filled < size:
                    # With a buffer it returns a count; the stubs know only the other form.
                    count: int = read(size - filled, space[filled:])  # type: ignore[assignment]
                    filled += count
                    if count == RECORD:
                        continue  # the usual case of bulk; at the end OpenSSL says so itself
                    if not count:
                        ended = True
                        break
                    if not (self._reads_ahead or incoming.pending or pending()):
                        self._more = False  # a message of its own: spares the exception
                        break
            except ssl.SSLWantReadError:
                self._more = False
            except ssl.SSLZeroReturnError:
                ended = True
            except ssl.SSLError as caught:
                error = caught
            if filled:
                receiver.buffer_updated(filled)
                if not self._may_deliver():  # an end is met again by the next reading
                    self._more = True
                    return
            if ended:
                self._end_of_file()
            elif error is not None:
                self._fail(error)
            elif self._more:
                continue
            return

    def _deliver_pieces(self) -> None:
        """Open record by record, for protocols of the usual kind."""
        while self._may_deliver():
            data = self._open_record()
            if not data:
                return
            self._protocol.data_received(data)

    def _open_record(self) -> bytes:
        """The content of the next record; b"" where there is none, or when the peer has ended."""
        assert self._tls is not None
        try:
            data = self._tls.read(RECORD)
        except ssl.SSLWantReadError:
            self._more = False
            return b""
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLError as error:
            self._fail(error)
            return b""
        if not data:
            self._end_of_file()
        return data

    def _deliver_held(self) -> None:
        """What was opened before it could be delivered."""
        while self._held and self._may_deliver():
            protocol = self._protocol
            if isinstance(protocol, DirectReceiver):
                space = protocol.get_buffer()
                count = min(len(space), len(self._held))
                space[:count] = self._held[:count]
                del self._held[:count]
                protocol.buffer_updated(count)
            else:
                data = bytes(self._held)
                self._held.clear()
                protocol.data_received(data)

    def _end_of_file(self) -> None:
        self._read_eof = True
        self._more = False
        if not self._protocol.eof_received():
            self.close()

    def is_reading(self) -> bool:
        """Whether received bytes are delivered."""
        return not self._paused and not self._closing and not self._read_eof

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""
        self._paused = True
        if self._secured and not self._closing:
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again; after the end-of-file there is nothing more to deliver."""
        if not self._paused:
            return
        self._paused = False
        if self._closing:
            return
        self._below.resume_reading()
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        if self._more and self._delivery is None and self._may_deliver():
            self._delivery = asyncio.get_running_loop().call_soon(self._deliver_later)

    def _deliver_later(self) -> None:
        self._delivery = None
        if not self._secured or not self._may_deliver():
            return
        try:
            self._deliver()
        except Exception as error:  # the protocol raised: the end of this connection only
            context = {"message": "a protocol failed", "exception": error, "transport": self}
            asyncio.get_running_loop().call_exception_handler(context)
            self.abort()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; dropped silently once the stream is closing."""
        if self._closing:
            return
        if self._wrote_eof:
            raise RuntimeError("cannot write after write_eof()")
        if self._secured:
            view = memoryview(data)
            while len(view) > SEAL_AT_ONCE + RECORD:  # no crumb is left for a write of its own
                self._seal(view[:SEAL_AT_ONCE])
                view = view[SEAL_AT_ONCE:]
            if view:
                self._seal(view)
            return
        self._early += data
        self._tell_full()

    def _seal(self, data: memoryview) -> None:
        assert self._tls is not None
        write, sealed, size = self._tls.write, 0, len(data)
        try:
            while sealed < size:
                sealed += write(data[sealed:])
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

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
        """Send `close_notify`.

        OpenSSL then looks for the peer's and takes a record with data for an error, for good. So
        what is there is opened first.
        """
        assert self._tls is not None
        while not self._read_eof and not self._closing:
            try:
                data = self._tls.read(RECORD)
            except ssl.SSLError:
                break  # nothing more; or an error that the next reading meets again
            if not data:
                break
            self._held += data
        with contextlib.suppress(ssl.SSLError):  # the peer's goodbye is not there yet
            self._tls.unwrap()
        self._flush()
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
        self._flush()
        self._closing = True
        if self._below.get_write_buffer_size():
            self._below.abort()  # a peer that does not read gets no alert
        else:
            self._below.close()

    # The protocol on top, and what is known of the peer

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the stream to another protocol."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that now reads the stream."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, `cipher` and `peercert` as asyncio has them, and what is known below."""
        if self._tls is not None:
            if name == "ssl_object":
                return self._tls
            if name == "cipher":
                return self._tls.cipher()
            if name == "peercert":
                return self._tls.getpeercert()
        return self._below.get_extra_info(name, default)
