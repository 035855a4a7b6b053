"""What waits to be published elsewhere: bounded, and what is lost is counted."""

from __future__ import annotations

from collections import deque

MAX_BYTES = 8 * 1024 * 1024
MAX_EVENTS = 10_000
BATCH_BYTES = 256 * 1024
BATCH_EVENTS = 100


class Outgoing:
    """A queue of topics and bodies. When it is full the newest is dropped: order stays."""

    __slots__ = ("_bytes", "_dropped", "_items")

    def __init__(self) -> None:
        self._items: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._dropped = 0

    def __repr__(self) -> str:
        return f"<Outgoing waiting={len(self._items)} dropped={self._dropped}>"

    def __len__(self) -> int:
        return len(self._items)

    def put(self, topic: str, body: bytes) -> None:
        """Let it wait, or drop it. One event of any size may wait alone."""
        full = self._bytes + len(body) > MAX_BYTES or len(self._items) >= MAX_EVENTS
        if full and self._items:
            self._dropped += 1
            return
        self._items.append((topic, body))
        self._bytes += len(body)

    def take(self) -> list[tuple[str, bytes]]:
        """The next ones to be sent, in order, no longer waiting; empty when none waits."""
        batch: list[tuple[str, bytes]] = []
        size = 0
        while self._items and size < BATCH_BYTES and len(batch) < BATCH_EVENTS:
            topic, body = self._items.popleft()
            self._bytes -= len(body)
            size += len(body)
            batch.append((topic, body))
        return batch

    def lost(self, count: int) -> None:
        """So many were taken and may not have arrived; they are not tried again."""
        self._dropped += count

    def dropped(self) -> int:
        """How many were dropped or lost since this was asked last."""
        count, self._dropped = self._dropped, 0
        return count
