"""Noticing that this machine slept: its session may be dead, and should be asked at once.

Linux's CLOCK_MONOTONIC, which drives the event loop, stands still during a suspend, CLOCK_BOOTTIME
does not (clock_gettime(2)): more of the latter passing than was slept for is a suspend. Where there
is no such clock, the wall clock must do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

INTERVAL = 2.0  # seconds between looks at the clocks
SLEPT = 5.0  # seconds of difference that count as a sleep


def _away() -> float:
    """A clock that jumps when the machine has slept."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time()


async def watch_for_wake(
    woke: Callable[[], None], *, clock: Callable[[], float] = _away, interval: float = INTERVAL
) -> None:
    """Call `woke` after each sleep of this machine, until cancelled."""
    before = clock()
    while True:
        await asyncio.sleep(interval)
        now = clock()
        if now - before > interval + SLEPT:
            woke()
        before = now
