"""Request bodies, which nobody wants: counted to their end and thrown away.

A chunked body is followed byte by byte (RFC 9112, section 7.1), as leniently as nginx does it:
lines may end in LF alone, and extensions and trailers may hold anything.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

MAX_CHUNK = 2**63 - 1


class BadBody(Exception):
    """The body is not what its head said."""


class Body(Protocol):
    """A body that is being thrown away."""

    @property
    def done(self) -> bool:
        """Whether its end has come."""
        ...

    def discard(self, data: bytes) -> bytes:
        """Throw away what belongs to it and return the rest, which comes after its end.

        Raises `BadBody`.
        """
        ...

    def wants(self) -> int:
        """How many bytes may still belong to it, at least."""
        ...


class CountedBody:
    """A body with a Content-Length, which is what is still to come of it."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def done(self) -> bool:
        """As `Body.done`."""
        return self._left == 0

    def discard(self, data: bytes) -> bytes:
        """As `Body.discard`."""
        rest = data[self._left :]
        self._left -= len(data) - len(rest)
        return rest

    def wants(self) -> int:
        """As `Body.wants`."""
        return self._left


class _At(Enum):
    START = auto()
    SIZE = auto()
    EXTENSION = auto()
    SIZE_CR = auto()
    AFTER_SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    DATA_END_CR = auto()
    TRAILERS = auto()
    TRAILER = auto()
    TRAILER_CR = auto()
    END_CR = auto()
    DONE = auto()


_KINDS = {
    **dict.fromkeys(b"0123456789abcdefABCDEF", "digit"),
    **dict.fromkeys(b"; \t", "extension"),
    13: "cr",
    10: "lf",
}

_MOVES: dict[_At, dict[str, _At]] = {
    _At.START: {"digit": _At.SIZE},
    _At.SIZE: {
        "digit": _At.SIZE,
        "extension": _At.EXTENSION,
        "cr": _At.SIZE_CR,
        "lf": _At.AFTER_SIZE,
    },
    _At.EXTENSION: {"cr": _At.SIZE_CR, "lf": _At.AFTER_SIZE, "other": _At.EXTENSION},
    _At.SIZE_CR: {"lf": _At.AFTER_SIZE},
    _At.DATA_END: {"cr": _At.DATA_END_CR, "lf": _At.START},
    _At.DATA_END_CR: {"lf": _At.START},
    _At.TRAILERS: {"cr": _At.END_CR, "lf": _At.DONE, "other": _At.TRAILER},
    _At.TRAILER: {"cr": _At.TRAILER_CR, "lf": _At.TRAILERS, "other": _At.TRAILER},
    _At.TRAILER_CR: {"lf": _At.TRAILERS},
    _At.END_CR: {"lf": _At.DONE},
}
"""Where each kind of byte leads; `other` stands for all that are not named, if there is one."""


class ChunkedBody:
    """A chunked body."""

    def __init__(self) -> None:
        self._at = _At.START
        self._size = 0

    @property
    def done(self) -> bool:
        """As `Body.done`."""
        return self._at is _At.DONE

    def wants(self) -> int:
        """As `Body.wants`: nobody knows, so a good deal."""
        return MAX_CHUNK

    def discard(self, data: bytes) -> bytes:
        """As `Body.discard`."""
        position = 0
        while position < len(data) and not self.done:
            if self._at is _At.DATA:
                position += self._skip(len(data) - position)
            else:
                self._step(data[position])
                position += 1
        if self._size > MAX_CHUNK - 5:
            raise BadBody
        return data[position:]

    def _skip(self, available: int) -> int:
        skipped = min(self._size, available)
        self._size -= skipped
        if self._size == 0:
            self._at = _At.DATA_END
        return skipped

    def _step(self, byte: int) -> None:
        if self._at is _At.SIZE and self._size > MAX_CHUNK // 16:
            raise BadBody  # whatever comes now
        kind = _KINDS.get(byte, "other")
        moves = _MOVES[self._at]
        to = moves.get(kind) or moves.get("other")
        if to is None:
            raise BadBody
        if to is _At.SIZE:
            self._size = self._size * 16 + int(chr(byte), 16)
        elif to is _At.AFTER_SIZE:
            to = _At.DATA if self._size else _At.TRAILERS
        self._at = to
