"""One client of the bus: its stream, what it listens to, and what waits for it."""

from __future__ import annotations

import asyncio
import logging

from wraith.errors import FrameError, StreamTruncated
from wraith.protocol.envelope import (
    SUBSCRIBE,
    UNSUBSCRIBE,
    EventEnvelope,
    EventReader,
    ReadEvent,
    requested_topic,
)
from wraith.protocol.events import NEED_DATA, Malformed
from wraith.pubsub.backlog import Backlog
from wraith.pubsub.bus import Bus, Identity
from wraith.streams.log_line import log_event

_log = logging.getLogger("wraith.pubsub")

PIECE = 64 * 1024
"""Bytes that are written at a time: so much, and no more, is copied for one channel."""

TURN = 64
TURN_BYTES = 256 * 1024
"""What is read from one channel, in events and in bytes, before the others get their turn."""

TOPIC_COST = 256
"""Bytes that a subscription takes beside its topic."""


class BusChannel(asyncio.Protocol):
    """Set on the stream of a channel to `wraith-control`; one identity may have many."""

    def __init__(self, bus: Bus, identity: Identity) -> None:
        self.identity = identity
        self._bus = bus
        self._reader = EventReader(bus.max_frame)
        self._stream: asyncio.Transport | None = None
        self._topics: set[str] = set()
        self._topic_cost = 0
        self._backlog = Backlog[bytes]()
        self._written = 0  # of the frame that has waited longest
        self._full = False
        self._ended = False
        self._turn: asyncio.Handle | None = None
        self._counted = 0
        self._remarks: set[str] = set()

    def __repr__(self) -> str:
        state = "closed" if self._stream is None else "open"
        return f"<BusChannel {state} topics={len(self._topics)} waiting={self._backlog.waiting}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport

    # Reading

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._reader.receive_data(data)
        if self._turn is None and self._read_for_a_turn() and self._stream is not None:
            self._stream.pause_reading()
            self._turn = asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        """More had come than one turn may take: go on, and take in more once all of it is read."""
        self._turn = None
        more = self._read_for_a_turn()
        if self._stream is None:
            return
        if more:
            self._turn = asyncio.get_running_loop().call_soon(self._take_turn)
        else:
            self._stream.resume_reading()

    def _read_for_a_turn(self) -> bool:
        """Handle events that have come; whether some are left."""
        reader, until = self._reader, self._reader.held - TURN_BYTES
        try:
            for _ in range(TURN):
                event = reader.next_event()
                if event is NEED_DATA:
                    self._count()
                    return False
                self._handle(event)
                if self._stream is None or reader.held < until:
                    break
        except FrameError:
            self._cut("frame-length")
        return True

    def _handle(self, event: ReadEvent) -> None:
        if isinstance(event, Malformed):
            self.malformed()
        elif isinstance(event, EventEnvelope):
            if not event.is_reserved:
                self._bus.published(self, event)
            elif (topic := requested_topic(event)) is not None:
                self._control(event.type, topic)

    def _control(self, kind: str, topic: str) -> None:
        cost = TOPIC_COST + len(topic)
        if kind == SUBSCRIBE and topic not in self._topics:
            if self._bus.subscribe_channel(self, topic):
                self._topics.add(topic)
                self._topic_cost += cost
        elif kind == UNSUBSCRIBE and topic in self._topics:
            self._topics.discard(topic)
            self._topic_cost -= cost
            self._bus.unsubscribe_channel(self, topic)

    def eof_received(self) -> bool:
        """The client has said all. It stays as long as it listens to something."""
        self._ended = True
        try:
            self._reader.receive_eof()
        except StreamTruncated:
            self._cut("truncated")
        else:
            self.flush()
        return True

    # Writing

    def push(self, frame: bytes) -> None:
        """An event for the client: written at the end of this turn, or when there is room."""
        size = len(frame)
        if not self._backlog.has_room(size):
            self.flush()  # the stream may take more than it was given so far
        if self._stream is None:
            return
        if self._backlog.has_room(size):
            self._backlog.push(frame, size)
            self._bus.flush_soon(self)
        else:
            self._bus.figures.cut += 1
            self._cut("slow-consumer")

    def flush(self) -> None:
        """Write what waits, as far as the stream takes it."""
        while self._backlog and not self._full and self._stream is not None:
            self._stream.write(self._next_piece())
        self._count()
        if self._ended and not self._topics and not self._backlog and self._stream is not None:
            self._stream.close()

    def _next_piece(self) -> bytes:
        """Frames that are small together, or the next part of one that is large."""
        backlog, frame = self._backlog, self._backlog.first()
        if len(frame) > PIECE:
            piece = frame[self._written : self._written + PIECE]
            self._written += len(piece)
            if self._written == len(frame):
                self._written = 0
                backlog.pop()
            return piece
        frames, size = [backlog.pop()], len(frame)
        while backlog and size + len(backlog.first()) <= PIECE:
            frames.append(backlog.pop())
            size += len(frames[-1])
        return b"".join(frames)

    def pause_writing(self) -> None:
        """The stream is full: what comes waits."""
        self._full = True

    def resume_writing(self) -> None:
        """The stream has room again."""
        self._full = False
        self.flush()

    # Remarks, each said once: whoever gives one reason for them may give many

    def malformed(self) -> None:
        """Something came that is no event."""
        self._bus.figures.malformed += 1
        self._remark("malformed event skipped")

    def refused(self) -> None:
        """Something was asked for that is not allowed."""
        self._bus.figures.refused += 1
        self._remark("event or subscription refused")

    def _remark(self, what: str) -> None:
        if what not in self._remarks:
            self._remarks.add(what)
            fingerprint = self.identity.fingerprint
            log_event(_log, logging.WARNING, what, key_fingerprint=fingerprint)

    # Ending

    def _count(self) -> None:
        """Note what this channel makes the bus hold."""
        held = self._reader.held + self._backlog.waiting + self._topic_cost
        change, self._counted = held - self._counted, held
        if change and not self._bus.holdings.change(self.identity.fingerprint, change):
            self._bus.figures.cut += 1
            self._cut("memory")

    def _cut(self, reason: str) -> None:
        if self._stream is not None:
            fingerprint = self.identity.fingerprint
            log_event(
                _log, logging.WARNING, "bus channel cut", key_fingerprint=fingerprint, reason=reason
            )
            self.abort()

    def abort(self) -> None:
        """End the channel at once; the client sees it cut short."""
        stream = self._stream
        self._forget()
        if stream is not None:
            stream.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone, and so is all that it wanted."""
        self._forget()

    def _forget(self) -> None:
        self._stream = None
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        for topic in self._topics:
            self._bus.unsubscribe_channel(self, topic)
        self._topics.clear()
        self._backlog.clear()
        self._bus.holdings.change(self.identity.fingerprint, -self._counted)
        self._counted = 0
