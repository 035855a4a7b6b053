"""One end of the stream between the parent and a worker; both ends are alike.

What is said must arrive, and is little. Copies of events may be many: beyond a bound they are
dropped and counted, so that an end that does not read costs the other a bounded amount of memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from wraith.protocol.events import NEED_DATA
from wraith.protocol.worker_link import (
    LinkError,
    LinkReader,
    Message,
    encode_copy,
    encode_said,
)

MAX_WAITING = 8 * 1024 * 1024
"""Bytes beyond which no other copy is added to what waits for the other end."""

MAX_SAID = 4 * MAX_WAITING
"""Bytes that may wait before the other end is given up: it has not read for very long."""


class Link(asyncio.Protocol):
    """Set on a Unix socket's stream.

    `hear` is called with each message, `lost` once when the other end is gone or makes no sense,
    and `drained` with the number of copies that were dropped, once there is room again.
    """

    def __init__(
        self,
        hear: Callable[[Message], None],
        lost: Callable[[], None],
        drained: Callable[[int], None] = lambda _dropped: None,
    ) -> None:
        self._hear = hear
        self._lost = lost
        self._drained = drained
        self._reader = LinkReader()
        self._stream: asyncio.Transport | None = None
        self._dropped = 0

    def __repr__(self) -> str:
        state = "open" if self._stream is not None else "closed"
        return f"<Link {state} dropped={self._dropped}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream is there."""
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport

    # Saying

    def say(self, op: str, **fields: Any) -> None:
        """Say something that must arrive; an end that does not read is given up."""
        if self._stream is None:
            return
        self._stream.write(encode_said(op, **fields))
        if self._stream.get_write_buffer_size() > MAX_SAID:
            self._stream.abort()

    def copy(self, topic: str, body: bytes) -> None:
        """Pass the copy of an event on, or drop it and count it."""
        if self._stream is None:
            return
        waiting = self._stream.get_write_buffer_size()
        if waiting > MAX_WAITING or (waiting and self._dropped):
            self._dropped += 1
            return
        self._stream.write(encode_copy(topic, body))

    def resume_writing(self) -> None:
        """The other end has read: there is room for copies again."""
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._drained(dropped)

    # Hearing

    def data_received(self, data: bytes) -> None:
        """Bytes from the other end."""
        self._reader.receive_data(data)
        try:
            while (message := self._reader.next_message()) is not NEED_DATA:
                if self._stream is None:
                    return
                self._hear(message)
        except LinkError:
            self.abort()

    def abort(self) -> None:
        """End it at once."""
        if self._stream is not None:
            self._stream.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        self._stream = None
        self._lost()
