"""Two streams joined back to back: what one receives, the other sends.

Each half closes in its own time. A full writer pauses the reader on the other side, so a relay
never holds more than the two write buffers. A stream that breaks resets the other, so that a
truncated transfer never looks complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from wraith.streams.tally import Tally

LINGER_ZERO = struct.pack("ii", 1, 0)


def reset(stream: asyncio.BaseTransport) -> None:
    """End a stream so that its peer sees a reset where the medium knows one (TCP's RST).

    Other streams are aborted, which is the nearest that they have.
    """
    sock = stream.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # already closed: there is nobody left to tell
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    assert isinstance(stream, asyncio.WriteTransport)
    stream.abort()


class RelayEnd(asyncio.Protocol):
    """The protocol on one of the two streams of a relay; made in pairs by `relay_pair`.

    Reading starts when both ends have their stream, so that nothing arrives with nowhere to go.
    """

    def __init__(self) -> None:
        self._peer: RelayEnd
        self._tally: Tally | None = None
        self._received = 0
        self._stream: asyncio.Transport | None = None
        self._received_eof = False
        self._ended = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "waiting" if self._stream is None else "open"
        return f"<RelayEnd {state} received_eof={self._received_eof}>"

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes that came from our stream, and from the other, as `Carrier.carried`."""
        return self._received, self._peer._received

    def count_in(self, tally: Tally) -> None:
        """Be one of its carriers from now on, with our end as the one that connected."""
        self._tally = tally
        tally.began(self)

    def _end(self) -> None:
        for end in (self, self._peer):
            end._ended = True
            if end._tally is not None:
                end._tally.ended(end)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the stream; if the other end is ready, let the bytes flow."""
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport
        if self._ended:  # the other side broke before we had a stream
            reset(transport)
            return
        other = self._peer._stream
        if other is None:
            transport.pause_reading()
        else:
            transport.resume_reading()
            other.resume_reading()

    def begin(self, early: bytes, *, eof: bool = False) -> None:
        """Pass on what was read from our stream before the relay had both ends."""
        if early:
            self.data_received(early)
        if eof and not self.eof_received() and self._stream is not None:
            self._stream.close()

    def data_received(self, data: bytes) -> None:
        """Send on the other stream."""
        self._received += len(data)
        other = self._peer._stream
        if other is not None and not other.is_closing():
            other.write(data)

    def eof_received(self) -> bool:
        """End the other stream's sending direction; keep ours open for what comes back."""
        self._received_eof = True
        other = self._peer._stream
        if other is not None and not other.is_closing():
            # asyncio raises here when the peer has reset the connection, and reports that
            # by connection_lost a moment later.
            with contextlib.suppress(OSError):
                other.write_eof()
        if self._peer._received_eof:
            self._close_both()
            return False
        return True

    def _close_both(self) -> None:
        self._end()
        for end in (self, self._peer):
            if end._stream is not None:
                end._stream.close()

    def pause_writing(self) -> None:
        """Our stream is full: read no more from the other."""
        other = self._peer._stream
        if other is not None:
            other.pause_reading()

    def resume_writing(self) -> None:
        """Our stream has room: read on from the other."""
        other = self._peer._stream
        if other is not None and self._stream is not None:
            other.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Our stream is gone: end the other in the same manner."""
        if self._ended:
            return
        self._end()
        other = self._peer._stream
        if other is None:
            return
        if exc is None and self._received_eof:
            other.close()
        else:
            reset(other)


def relay_pair() -> tuple[RelayEnd, RelayEnd]:
    """Two protocols, one for each stream that is to be joined."""
    a, b = RelayEnd(), RelayEnd()
    a._peer, b._peer = b, a
    return a, b
