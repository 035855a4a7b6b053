"""How much memory one identity may make the bus hold, over all its channels together.

Each channel may have a frame that has not come whole, events that wait to be taken, and topics.
One alone is bounded; an identity that opens a thousand channels must be bounded as well.
"""

from __future__ import annotations

LIMIT = 256 * 1024 * 1024


class Holdings:
    """Bytes held, by the fingerprint of the key. `limit` is in bytes, for each."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._held: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Holdings identities={len(self._held)} held={sum(self._held.values())}>"

    def change(self, fingerprint: str, by: int) -> bool:
        """Note `by` bytes more or less; whether the identity is within its limit."""
        held = self._held.get(fingerprint, 0) + by
        if held > 0:
            self._held[fingerprint] = held
        else:
            self._held.pop(fingerprint, None)
        return held <= self._limit
