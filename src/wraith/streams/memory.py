"""A connected pair of streams inside one process: the in-memory twin of a socket pair.

Each end keeps what its peer wrote until its protocol may read it. A paused reader makes the buffer
grow to the high-water mark, where the writing protocol is asked to pause, as with a socket.
"""

from __future__ import annotations

import asyncio
from typing import Any

DEFAULT_HIGH_WATER = 64 * 1024


def memory_pair(
    left: asyncio.Protocol, right: asyncio.Protocol
) -> tuple[MemoryStream, MemoryStream]:
    """Two streams joined to each other, with their protocols told of the connection.

    Must be called with a running event loop.
    """
    a, b = MemoryStream(), MemoryStream()
    a._join(b)
    b._join(a)
    for stream, protocol in ((a, left), (b, right)):
        stream.set_protocol(protocol)
        protocol.connection_made(stream)
    return a, b


class MemoryStream(asyncio.Transport):
    """One end of a pair; made by `memory_pair`."""

    def __init__(self) -> None:
        super().__init__({"peername": None, "sockname": None})
        self._loop = asyncio.get_running_loop()
        self._peer: MemoryStream | None = None
        self._protocol: asyncio.Protocol | None = None
        self._inbox = bytearray()  # what the peer wrote and we have not delivered
        self._inbox_eof = False
        self._eof_delivered = False
        self._eof_written = False
        self._reading = True
        self._closing = False
        self._lost = False
        self._delivery_scheduled = False
        self._writer_paused = False
        self._high = DEFAULT_HIGH_WATER
        self._low = DEFAULT_HIGH_WATER // 4

    def __repr__(self) -> str:
        state = "lost" if self._lost else "closing" if self._closing else "open"
        return f"<MemoryStream {state} reading={self._reading} unread={len(self._inbox)}>"

    def _join(self, peer: MemoryStream) -> None:
        self._peer = peer

    # The protocol on top

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the stream to another protocol; what is unread goes to it."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that now reads the stream."""
        assert self._protocol is not None
        return self._protocol

    # Reading

    def is_reading(self) -> bool:
        """Whether received bytes are delivered."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""
        self._reading = False

    def resume_reading(self) -> None:
        """Deliver what has come and what will come."""
        self._reading = True
        self._schedule_delivery()

    def _schedule_delivery(self) -> None:
        if not self._delivery_scheduled and not self._lost:
            self._delivery_scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivery_scheduled = False
        if not self._reading or self._closing:
            return
        assert self._protocol is not None
        if self._inbox:
            data = bytes(self._inbox)
            self._inbox.clear()
            self._protocol.data_received(data)
            if self._peer is not None:
                self._peer._update_flow()
            self._schedule_delivery()
        elif self._inbox_eof and not self._eof_delivered:
            self._eof_delivered = True
            if not self._protocol.eof_received():
                self.close()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; dropped silently once the stream is closing, as asyncio's sockets do."""
        if self._closing:
            return
        if self._eof_written:
            raise RuntimeError("cannot write after write_eof()")
        if not data or self._peer is None:
            return
        self._peer._inbox += data
        self._peer._schedule_delivery()
        self._update_flow()

    def can_write_eof(self) -> bool:
        """Half-close is supported."""
        return True

    def write_eof(self) -> None:
        """End our direction; the other stays open."""
        if self._eof_written or self._closing:
            return
        self._eof_written = True
        if self._peer is not None:
            self._peer._inbox_eof = True
            self._peer._schedule_delivery()

    def get_write_buffer_size(self) -> int:
        """Bytes that the peer has not taken yet."""
        return len(self._peer._inbox) if self._peer is not None else 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark, in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes; defaults as in asyncio (64 KiB, and a quarter of it)."""
        self._high = DEFAULT_HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low
        self._update_flow()

    def _update_flow(self) -> None:
        if self._lost or self._protocol is None:
            return
        size = self.get_write_buffer_size()
        if not self._writer_paused and size > self._high:
            self._writer_paused = True
            self._protocol.pause_writing()
        elif self._writer_paused and size <= self._low:
            self._writer_paused = False
            self._protocol.resume_writing()

    # Ending

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called, or the peer is gone."""
        return self._closing

    def close(self) -> None:
        """End both directions; what was written still arrives."""
        if self._closing:
            return
        self.write_eof()
        self._end(None)
        if self._peer is not None:
            self._peer._peer_closed()

    def abort(self) -> None:
        """End at once; the peer sees a reset and what it has not read is lost."""
        if self._closing:
            return
        self._end(None)
        if self._peer is not None:
            self._peer._inbox.clear()
            self._peer._end(ConnectionResetError("the peer aborted the connection"))

    def _peer_closed(self) -> None:
        # Nobody will ever read what we still write: forget it, and let a paused writer go on to
        # find the end of the stream.
        self._peer = None
        self._update_flow()

    def _end(self, exc: Exception | None) -> None:
        if self._closing:
            return
        self._closing = True
        self._inbox.clear()
        self._loop.call_soon(self._call_connection_lost, exc)

    def _call_connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        protocol, self._peer = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(exc)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing is known of a stream without a network."""
        return super().get_extra_info(name, default)
