"""How much may wait for somebody who does not take it: 1 MiB, beyond one frame of any size.

One frame is always let through, as it may be larger than the rest together. Whoever lets more than
that pile up is too slow: the publisher never waits, so somebody has to give way.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

ALLOWANCE = 1024 * 1024

T = TypeVar("T")


class Backlog(Generic[T]):
    """What waits, oldest first. `allowance` is in bytes."""

    __slots__ = ("_allowance", "_items", "_largest", "waiting")

    def __init__(self, allowance: int = ALLOWANCE) -> None:
        self._allowance = allowance
        self._items: deque[tuple[T, int]] = deque()
        self._largest = 0
        self.waiting = 0
        """Bytes that wait."""

    def __repr__(self) -> str:
        return f"<Backlog items={len(self._items)} waiting={self.waiting}>"

    def __len__(self) -> int:
        return len(self._items)

    def has_room(self, size: int) -> bool:
        """Whether another `size` bytes may wait."""
        return self.waiting + size - max(self._largest, size) <= self._allowance

    def push(self, item: T, size: int) -> None:
        """Let it wait, whether there is room or not."""
        self._items.append((item, size))
        self.waiting += size
        if size > self._largest:
            self._largest = size

    def first(self) -> T:
        """What has waited longest, which goes on waiting. Raises `IndexError` when nothing does."""
        return self._items[0][0]

    def pop(self) -> T:
        """Take what has waited longest. Raises `IndexError` when nothing waits."""
        item, size = self._items.popleft()
        self.waiting -= size
        if size == self._largest:
            self._largest = max((size for _, size in self._items), default=0)
        return item

    def clear(self) -> None:
        """Forget all of it."""
        self._items.clear()
        self.waiting = self._largest = 0
