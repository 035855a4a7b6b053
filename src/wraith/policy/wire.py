"""The data types of SSH (RFC 4251, section 5), read from a buffer that strangers may have written.

Whatever is not there, too long or left over is a `ValueError`; no other exception comes out.
"""

from __future__ import annotations

import struct


class Reader:
    """Reads one value after the other from `data`; each method raises `ValueError` at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Whether there is anything left to read."""
        return self._position < len(self._data)

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        end = self._position + length
        if end > len(self._data):
            raise ValueError("the data ends too early")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def byte(self) -> int:
        """Return the next byte, as a number."""
        return self.take(1)[0]

    def uint32(self) -> int:
        """Return the next four bytes, as a number."""
        (value,) = struct.unpack(">I", self.take(4))
        return int(value)

    def uint64(self) -> int:
        """Return the next eight bytes, as a number."""
        (value,) = struct.unpack(">Q", self.take(8))
        return int(value)

    def string(self) -> bytes:
        """Return the next length-prefixed run of bytes."""
        return self.take(self.uint32())

    def text(self, errors: str = "strict") -> str:
        """Return the next string as UTF-8; NUL is refused, as C programs would stop at it."""
        data = self.string()
        if b"\0" in data:
            raise ValueError("there is a NUL in a text")
        return data.decode(errors=errors)

    def strings(self) -> list[bytes]:
        """Return every string from here to the end."""
        found = []
        while self:
            found.append(self.string())
        return found

    def natural(self) -> int:
        """Return the next mpint, which must not be negative."""
        data = self.string()
        if data and data[0] & 0x80:
            raise ValueError("a number is negative")
        return int.from_bytes(data)

    def finish(self) -> None:
        """Raise `ValueError` unless everything was read."""
        if self:
            raise ValueError("there is data left over at the end")
