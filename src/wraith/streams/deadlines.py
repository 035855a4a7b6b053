"""Many things with the same deadline, for the price of one timer.

A timer for each handshake would cost more than the handshake's own work. All members have the same
time, so the oldest is always the first in the table, and one look a second finds who is late.
"""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar

LOOK_EVERY = 1.0  # seconds; how late a deadline may be noticed


class Late(Protocol):
    """Something that must not take too long."""

    def too_late(self) -> None:
        """It did; it is no longer a member."""
        ...


Member = TypeVar("Member", bound=Late)


class Deadlines(Generic[Member]):
    """The members that have yet to finish; each has `seconds` from when it was added."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: dict[Member, float] = {}
        self._look: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<Deadlines seconds={self._seconds:g} members={len(self._began)}>"

    def __len__(self) -> int:
        return len(self._began)

    def add(self, member: Member) -> None:
        """A member begins."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        self._began[member] = loop.time()
        if self._look is None:
            self._look = loop.call_later(min(LOOK_EVERY, self._seconds), self._find_late)

    def discard(self, member: Member) -> None:
        """A member has finished, or was none."""
        self._began.pop(member, None)

    def _find_late(self) -> None:
        self._look = None
        loop = asyncio.get_running_loop()
        too_old = loop.time() - self._seconds
        for member, began in list(self._began.items()):
            if began > too_old:
                break
            if self._began.pop(member, None) is not None:
                member.too_late()
        if self._began and self._look is None:
            self._look = loop.call_later(min(LOOK_EVERY, self._seconds), self._find_late)

    def close(self) -> None:
        """Forget everybody."""
        self._began.clear()
        if self._look is not None:
            self._look.cancel()
            self._look = None
