"""How much a peer may have on its way to us, in all: SSH windows out of one budget.

A window is a promise to hold that many bytes (RFC 4254 section 5.2). A session with few channels
gets wide ones; each further channel gets a share of what is left, and never less than the smallest
that still moves data, so that the whole stays near the budget whatever the peer opens.
"""

from __future__ import annotations

LARGEST = 2 * 1024 * 1024
SMALLEST = 64 * 1024
SHARE = 8


class WindowBudget:
    """The bytes promised so far, out of `total`."""

    __slots__ = ("_promised", "_total")

    def __init__(self, total: int) -> None:
        self._total = total
        self._promised = 0

    def __repr__(self) -> str:
        return f"<WindowBudget promised={self._promised} total={self._total}>"

    @property
    def promised(self) -> int:
        """Bytes promised to open channels."""
        return self._promised

    def grant(self) -> int:
        """A window for one more channel, in bytes; to be given back by `release`."""
        left = max(0, self._total - self._promised)
        window = max(SMALLEST, min(LARGEST, left // SHARE))
        self._promised += window
        return window

    def release(self, window: int) -> None:
        """Take back the window of a channel that is gone."""
        self._promised -= window

    def grow(self, wanted: int) -> int:
        """How much wider the window of a busy channel may become, up to `wanted` bytes more.

        At most half of what is left, so that other channels can grow, too, and nothing once the
        budget is promised. The whole is given back by `release` with the new size.
        """
        growth = min(wanted, max(0, self._total - self._promised) // 2)
        self._promised += growth
        return growth
