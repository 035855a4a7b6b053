"""One line on a terminal says how `wraith connect` is doing, while log lines pass above it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TextIO

from wraith.cli.wording import live_line
from wraith.client.status import Status

EVERY = 1.0
"""Seconds between two looks."""


def is_wanted(*, human: bool) -> bool:
    """Whether somebody looks at a terminal that can move its cursor."""
    from rich.console import Console

    return human and sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal


@contextlib.asynccontextmanager
async def shown(status: Callable[[], Status]) -> AsyncIterator[None]:
    """Keep the line on the terminal inside the block, and take it away after it."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    # No thread of its own: the line is drawn from the event loop, when there is something to say.
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
    rates = Rates()

    def draw() -> None:
        now = status()
        up, down = rates.since_last(*now.traffic, asyncio.get_running_loop().time())
        line = Text(live_line(now, up, down), no_wrap=True, overflow="ellipsis")
        with contextlib.suppress(OSError):  # the terminal has gone
            live.update(line, refresh=True)

    async def keep_drawing() -> None:
        while True:
            draw()
            await asyncio.sleep(EVERY)

    with live, _logs_to(lambda: sys.stderr):  # which passes what is written above the line
        drawing = asyncio.create_task(keep_drawing(), name="draw the live line")
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)


class Rates:
    """Bytes a second, out of sums that only grow."""

    def __init__(self) -> None:
        self._last: tuple[int, int, float] | None = None

    def since_last(self, up: int, down: int, now: float) -> tuple[float, float]:
        """Both rates since the call before; 0 at the first."""
        last, self._last = self._last, (up, down, now)
        if last is None or now <= last[2]:
            return 0.0, 0.0
        passed = now - last[2]
        return max(0, up - last[0]) / passed, max(0, down - last[1]) / passed


@contextlib.contextmanager
def _logs_to(stream: Callable[[], TextIO]) -> Iterator[None]:
    """Send the log there for a while, to wherever it went afterwards."""
    handlers = [
        handler
        for handler in logging.getLogger("wraith").handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    before = [handler.setStream(stream()) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream_before in zip(handlers, before, strict=True):
            if stream_before is not None:
                handler.setStream(stream_before)
