"""What a server has done so far, counted; never for whom it did it, nor where it led.

The words that tell kinds apart are the fixed ones of the log, so that no stranger can make up a new
one and fill a monitoring system with it.
"""

from __future__ import annotations

from collections import Counter


class Counts:
    """Sums since the start; plain numbers, for whoever shows them."""

    def __init__(self) -> None:
        self.connections: Counter[str] = Counter()
        """By what became of them: `accepted`, or the reason of a refusal."""
        self.authentications: Counter[str] = Counter()
        """By result: `accept`, or the reason of a rejection."""
        self.channels: Counter[str] = Counter()
        """By result: `open`, or the name of an errno. Counted only while somebody wants to know."""
        self.bytes_in = self.bytes_out = 0
        """Of the sessions that have ended: received and sent, before and after decryption."""

    def __repr__(self) -> str:
        return f"<Counts connections={self.connections.total()}>"
