"""Events over one stream of bytes: the client's side of the bus.

    stream = await wraith.open_stream(options, "wraith-control:0")
    async with stream, EventTarget(stream) as target:
        target.dispatch("chat.msg", "room-1", {"text": "hello"})
        async for event in target.subscribe("chat.msg:room-1"):
            print(event.payload)

It connects nothing and reconnects nothing: a new stream is a new target.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from wraith.errors import EventStreamError, SlowConsumer, StreamTruncated, WraithError
from wraith.protocol.envelope import (
    DEFAULT_MAX_FRAME,
    EventEnvelope,
    EventReader,
    application_event,
    encode_frame,
    subscribe,
    unsubscribe,
)
from wraith.protocol.events import NEED_DATA, Malformed
from wraith.pubsub.backlog import ALLOWANCE, Backlog
from wraith.pubsub.listeners import Listener, Listeners, Subscription
from wraith.streams.log_line import log_event
from wraith.streams.tasks import TaskSet

_log = logging.getLogger("wraith.pubsub")

PIECE = 64 * 1024
"""Bytes that are read or written at a time, as far as frames allow."""

TURN = 64
"""Events that are told before others in the loop get their turn."""

FLUSH_TIMEOUT = 1.0
"""Seconds that `close` waits for what was dispatched to be taken."""


class ByteStream(Protocol):
    """What is needed of a stream; a `wraith.DuplexStream` has it."""

    async def read(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes, and wait while the other side does not take them."""
        ...


class _StreamPair:
    """asyncio's own reader and writer, as one stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.read = reader.read
        self._writer = writer

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


AnyStream: TypeAlias = ByteStream | tuple[asyncio.StreamReader, asyncio.StreamWriter]


class EventTarget:
    """Dispatches events to the other side of a stream, and listens to topics.

    `stream` is a `DuplexStream`, or the reader and the writer that asyncio and
    `Client.open_connection` give; it stays its owner's to close. `max_frame` is the limit of one
    event in bytes, from 1 KiB to 64 MiB. Made in a running event loop, where it begins to read.
    """

    def __init__(self, stream: AnyStream, *, max_frame: int = DEFAULT_MAX_FRAME) -> None:
        self._stream = _StreamPair(*stream) if isinstance(stream, tuple) else stream
        self._max_frame = max_frame
        self._reader = EventReader(max_frame)
        self._malformed = 0
        self._listeners = Listeners[EventEnvelope](self._ask_for, self._give_up)
        self._backlog = Backlog[bytes]()
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = asyncio.Event()
        self._error: EventStreamError | None = None
        self._tasks = TaskSet("event target")
        self._tasks.spawn(self._read(), "read")
        self._tasks.spawn(self._write(), "write")

    def __repr__(self) -> str:
        state = "closed" if self._ended.is_set() else "open"
        return f"<wraith.pubsub.EventTarget {state} waiting={self._backlog.waiting}>"

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended, or `close` was called."""
        return self._ended.is_set()

    # Sending

    def dispatch(
        self,
        type: str,  # noqa: A002 - the words of the wire
        id: str = "",  # noqa: A002
        payload: Any = None,
    ) -> None:
        """Send an event to the other side; listeners here do not hear it.

        Returns at once. Raises `EventError` for what cannot be sent, `SlowConsumer` while more than
        1 MiB beyond one event waits to be taken (`drain` waits for room; this event is not sent),
        and `EventStreamError` when the stream has ended.
        """
        self._send(application_event(type, id, payload))

    def _send(self, event: EventEnvelope) -> None:
        self._check_open()
        frame = encode_frame(event, self._max_frame)
        if not self._backlog.has_room(len(frame)):
            raise SlowConsumer(
                "the other side takes events more slowly than they are sent",
                hint="wait for drain() between events",
            )
        self._backlog.push(frame, len(frame))
        self._idle.clear()
        self._more.set()
        if self._backlog.waiting > ALLOWANCE // 2:
            self._room.clear()

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._ended.is_set():
            raise EventStreamError("the stream of events has ended")

    async def drain(self) -> None:
        """Wait for room. Raises `EventStreamError` when the stream has ended."""
        await self._room.wait()
        self._check_open()

    async def _write(self) -> None:
        while True:
            self._more.clear()
            try:
                while self._backlog:
                    await self._stream.write(self._next_frames())
                    if self._backlog.waiting <= ALLOWANCE // 4:
                        self._room.set()
            except (OSError, RuntimeError, WraithError) as error:
                self._end(EventStreamError("the stream of events was cut short"), error)
                return
            self._idle.set()
            await self._more.wait()

    def _next_frames(self) -> bytes:
        """What waits, in one piece of a size that suits a stream."""
        frames = [self._backlog.pop()]
        size = len(frames[0])
        while self._backlog and size < PIECE:
            frames.append(self._backlog.pop())
            size += len(frames[-1])
        return b"".join(frames)

    # Listening

    def add_listener(
        self, topic: str, listener: Listener[EventEnvelope], *, once: bool = False
    ) -> None:
        """Call `listener` with each event of a topic, `type:id`, or with the next one only.

        The first listener of a topic asks the other side for it. A listener that is there already
        is not added again. One that raises does not keep the others from hearing. Raises
        `EventStreamError` when the stream has ended.
        """
        self._check_open()
        self._listeners.add(topic, listener, once=once)

    def remove_listener(self, topic: str, listener: Listener[EventEnvelope]) -> None:
        """Call it no more; the last listener of a topic gives the topic up."""
        self._listeners.remove(topic, listener)

    def subscribe(self, topic: str) -> Subscription[EventEnvelope]:
        """The events of a topic from now on, for `async for`. Raises as `add_listener`."""
        self._check_open()
        return self._listeners.subscribe(topic)

    def _ask_for(self, topic: str) -> None:
        self._send(subscribe(topic))

    def _give_up(self, topic: str) -> None:
        if not self._ended.is_set():
            with contextlib.suppress(SlowConsumer):  # then more comes than is wanted, no worse
                self._send(unsubscribe(topic))

    # Receiving

    async def _read(self) -> None:
        try:
            while data := await self._stream.read(PIECE):
                self._reader.receive_data(data)
                await self._deliver()
            self._reader.receive_eof()
        except EventStreamError as error:
            self._end(error, error.__cause__)
        except (OSError, EOFError, WraithError) as error:
            kind = StreamTruncated if self._reader.held else EventStreamError
            self._end(kind("the stream of events was cut short"), error)
        else:
            self._end(None, None)

    async def _deliver(self) -> None:
        turn = 0
        while True:
            before = self._reader.held
            event = self._reader.next_event()
            if event is NEED_DATA:
                return
            if isinstance(event, Malformed):
                self._skip()
            elif isinstance(event, EventEnvelope) and not event.is_reserved:
                self._listeners.deliver(event, before - self._reader.held)
            turn += 1
            if turn % TURN == 0:
                await asyncio.sleep(0)

    def _skip(self) -> None:
        self._malformed += 1
        if self._malformed == 1:  # whoever sends one may send many
            log_event(_log, logging.WARNING, "malformed event skipped")

    # Ending

    def _end(self, error: EventStreamError | None, cause: BaseException | None) -> None:
        if self._ended.is_set():
            return
        if error is not None:
            error.__cause__ = cause
        self._error = error
        self._ended.set()
        self._room.set()
        self._idle.set()
        self._backlog.clear()
        self._listeners.end(error)

    async def wait_closed(self) -> None:
        """Wait for the end of the stream, or `close`.

        Raises `FrameError`, `StreamTruncated` or another `EventStreamError` if it was no clean end.
        """
        await self._ended.wait()
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Stop reading and writing; the stream stays open, and its owner's. May be called twice.

        What was dispatched is sent first, if the other side takes it within a second.
        """
        if not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_TIMEOUT):
                    await self._idle.wait()
        self._end(None, None)
        await self._tasks.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
