"""How much of a head is kept: nginx's header buffers, which decide when a head is too long.

One small buffer for each connection; a head that does not fit goes on in up to four large ones, and
no line may be longer than one of these (`client_header_buffer_size 1k`,
`large_client_header_buffers 4 8k`). A long run of requests without a pause shares the buffers, so
that where a request begins decides what it may still hold.
"""

from __future__ import annotations

import re

SMALL = 1024
LARGE = 8 * 1024
LARGE_COUNT = 4

_BLANK = re.compile(rb"[\r\n]*")


class HeadBuffers:
    """The buffer that is being filled and read, and how many more there may be."""

    def __init__(self) -> None:
        self.data = bytearray()
        """What is in the buffer now."""

        self.position = 0
        """How much of it has been read."""

        self.line = 0
        """Where the line that is being read begins."""

        self._size = SMALL
        self._busy = 0
        self._free = 0

    def __repr__(self) -> str:
        return f"<HeadBuffers {self.position} of {len(self.data)} of {self._size}>"

    @property
    def room(self) -> int:
        """Bytes that may still be put into the buffer."""
        return self._size - len(self.data)

    @property
    def unread(self) -> int:
        """Bytes that have come and are not read yet."""
        return len(self.data) - self.position

    @property
    def full(self) -> bool:
        """Whether everything is read and there is no room for more."""
        return self.position == self._size

    def put(self, data: bytes) -> None:
        """Add what has come, at most `room` bytes."""
        self.data += data

    def skip(self, count: int) -> bytes:
        """Read up to `count` bytes of what is unread, and return them."""
        taken = bytes(self.data[self.position : self.position + count])
        self.position += len(taken)
        return taken

    def skip_blank(self) -> None:
        """Pass over blank lines; the line begins after them."""
        blank = _BLANK.match(self.data, self.position)
        assert blank is not None  # perhaps it is empty
        self.line = self.position = blank.end()

    def wipe(self) -> None:
        """Forget what was read, all of it blank, and fill the same buffer again."""
        self.data.clear()
        self.position = self.line = 0

    def grow(self, *, in_line: bool) -> bool:
        """Go on in another large buffer, with the line that is being read; False if it is too much.

        `in_line` says that a line has begun, which moves along.
        """
        if in_line and self.position - self.line >= LARGE:
            return False
        if not self._take():
            return False
        self._move_to_large(bytes(self.data[self.line :]) if in_line else b"")
        return True

    def _take(self) -> bool:
        if self._free:
            self._free -= 1
        elif self._busy >= LARGE_COUNT:
            return False
        self._busy += 1
        return True

    def _move_to_large(self, kept: bytes) -> None:
        self.data = bytearray(kept)
        self.line, self.position, self._size = 0, len(kept), LARGE

    def put_back(self, data: bytes) -> None:
        """Add what was read too far behind a body; it begins the next request."""
        if len(data) > self.room:
            if self._free:
                self._free -= 1
            self._busy += 1
            self._move_to_large(b"")
        self.data += data

    def next_request(self) -> bool:
        """A request is over: whether another has come with it, whose bytes stay where they are."""
        if self.unread:
            self.line = self.position
            if self._size == LARGE:
                self._free, self._busy = self._free + self._busy - 1, 1
            return True
        self.wipe()
        self._size, self._busy, self._free = SMALL, 0, 0
        return False
