"""What every machine of this room is made of: two buffers, and a cursor to read one of them.

A decoder reads from a `Cursor` as if all the bytes were there. When they are not, `Incomplete`
flies past it, nothing has been consumed, and the same decoder starts again with more bytes. The
messages are a few hundred bytes at most, so that reading them anew costs less than remembering
how far one came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Incomplete(Exception):
    """The bytes of a message have not all arrived."""


class Cursor:
    """A place in a buffer, which moves on with every read."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = data
        self.position = 0

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes; `Incomplete` if there are fewer."""
        end = self.position + length
        if end > len(self._data):
            raise Incomplete
        taken = bytes(self._data[self.position : end])
        self.position = end
        return taken

    def byte(self) -> int:
        """Return the next byte as a number; `Incomplete` if there is none."""
        position = self.position
        if position >= len(self._data):
            raise Incomplete
        self.position = position + 1
        return self._data[position]

    def counted(self) -> bytes:
        """Return as many bytes as the next byte says; `Incomplete` if there are fewer."""
        return self.take(self.byte())

    def port(self) -> int:
        """Return the next two bytes as a number in network order; `Incomplete` without both."""
        return int.from_bytes(self.take(2), "big")

    def until_nul(self, limit: int) -> bytes:
        """Return what comes before the next NUL, and step over it.

        Raises `Incomplete` while there is none, and `ValueError` once it cannot come within
        `limit` bytes any more.
        """
        end = self._data.find(b"\0", self.position, self.position + limit + 1)
        if end >= 0:
            return self.take(end + 1 - self.position)[:-1]
        if len(self._data) - self.position > limit:
            raise ValueError(f"a text is longer than {limit} bytes")
        raise Incomplete


class Machine:
    """Bytes in, bytes out; the machines add what happens between the two."""

    def __init__(self) -> None:
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the other side, cut in any way; then ask `next_event` until it waits."""
        self._incoming += data

    def data_to_send(self) -> bytes:
        """Return what to send to the other side now, perhaps nothing; each byte is told once."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def _send(self, data: bytes) -> None:
        self._outgoing += data

    def _decode(self, decoder: Callable[[Cursor], T]) -> T:
        """Read one message and consume its bytes, or consume nothing and raise."""
        cursor = Cursor(self._incoming)
        message = decoder(cursor)
        del self._incoming[: cursor.position]
        return message

    def _rest(self) -> bytes:
        rest = bytes(self._incoming)
        self._incoming.clear()
        return rest
