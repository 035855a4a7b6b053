"""What a stream has been given to send and QUIC has not taken; no I/O."""

from __future__ import annotations

WRITE_SIZE = 256 * 1024
"""Bytes that cross to Rust in one piece; what is queued is put together up to this."""

HIGH_WATER = 256 * 1024


class Outbox:
    """Pieces in their order: those that wait, and those that are being written."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._waiting_size = self._under_way = 0
        self.low, self.high = HIGH_WATER // 4, HIGH_WATER

    def __len__(self) -> int:
        """Bytes, of both kinds."""
        return self._waiting_size + self._under_way

    @property
    def waits(self) -> bool:
        """Whether there is something to write next."""
        return bool(self._waiting)

    def add(self, data: bytes | bytearray | memoryview) -> None:
        """Keep these bytes, not the buffer that they came in."""
        if len(data) > WRITE_SIZE:
            view = memoryview(data)
            cuts = range(0, len(data), WRITE_SIZE)
            self._waiting += [bytes(view[at : at + WRITE_SIZE]) for at in cuts]
        else:
            self._waiting.append(data if isinstance(data, bytes) else bytes(data))
        self._waiting_size += len(data)

    def take(self) -> list[bytes]:
        """The pieces to write next, as many as may cross together; they are under way now."""
        pieces, size = self._waiting, self._waiting_size
        if size > WRITE_SIZE and len(pieces) > 1:
            size, count = len(pieces[0]), 1
            while size + len(pieces[count]) <= WRITE_SIZE:
                size += len(pieces[count])
                count += 1
            pieces, self._waiting = pieces[:count], pieces[count:]
        else:
            self._waiting = []
        self._waiting_size -= size
        self._under_way = size
        return pieces

    def written(self) -> None:
        """What was under way has been taken."""
        self._under_way = 0

    def clear(self) -> None:
        """Forget everything."""
        self._waiting = []
        self._waiting_size = self._under_way = 0

    def set_limits(self, high: int | None, low: int | None) -> None:
        """Set the marks as asyncio's transports do; the low one is a quarter of the high one."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        self.high, self.low = high, high // 4 if low is None else low
