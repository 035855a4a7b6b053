"""Not too many handshakes with one server at a time.

A server takes only so many strangers from one address (`max_startups_per_ip`, 20 by default), and
a hundred streams asked for in one breath would shut each other out.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wraith.errors import TransportError

WIDTH = 8
"""Handshakes with one server at a time: less than half of what a server takes from one address."""


class Turns:
    """Waiting lines, one for each server; a line that nobody stands in is forgotten."""

    def __init__(self, width: int = WIDTH) -> None:
        self._width = width
        self._lines: weakref.WeakValueDictionary[str, asyncio.Semaphore] = (
            weakref.WeakValueDictionary()
        )

    def __repr__(self) -> str:
        return f"<Turns width={self._width} lines={len(self._lines)}>"

    @asynccontextmanager
    async def turn(self, server: str, timeout: float) -> AsyncIterator[None]:
        """Wait for a turn, at most `timeout` seconds, and hold it. Raises `TransportError`."""
        line = self._lines.get(server)
        if line is None:
            line = self._lines[server] = asyncio.Semaphore(self._width)
        try:
            async with asyncio.timeout(timeout):
                await line.acquire()
        except TimeoutError:
            raise TransportError(
                f"cannot reach {server}: earlier connections to it are still being made after "
                f"{timeout:g} s"
            ) from None
        try:
            yield
        finally:
            line.release()
