"""The messages of the control channel, as bytes.

    message = length (4 bytes, big-endian) || JSON object (UTF-8, `length` bytes) || blobs

The object's `blobs` lists the length of each blob; `{"blob": 0}` inside it stands for the first.
Keys travel as blobs only, so that no copy of one is made as text. Nothing here does I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PROTOCOL = 1
"""The version of what is said on the control channel; the host refuses another."""

MAX_HEAD = 1024 * 1024
"""Bytes of a message's JSON."""

MAX_BLOBS = 16 * 1024 * 1024
"""Bytes of a message's blobs together: a large authorized_keys file, several times over."""

LENGTH = 4


class FrameError(Exception):
    """The host does not speak as agreed: the channel cannot be used any more."""


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """One message; its blobs are already in their places."""

    head: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<Message op={self.head.get('op')!r}>"


class FrameReader:
    """Takes bytes as they come and gives whole messages."""

    def __init__(self) -> None:
        self._received = bytearray()

    def __repr__(self) -> str:
        return f"<FrameReader received={len(self._received)}>"

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield each message that is complete now. Raises `FrameError`, once and for all."""
        self._received += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        if len(self._received) < LENGTH:
            return None
        length = int.from_bytes(self._received[:LENGTH], "big")
        if not 0 < length <= MAX_HEAD:
            raise FrameError(f"a message of {length} bytes")
        end = LENGTH + length
        if len(self._received) < end:
            return None
        head = _object(bytes(self._received[LENGTH:end]))
        sizes = _sizes(head)
        total = end + sum(sizes)
        if len(self._received) < total:
            return None
        blobs = []
        for size in sizes:
            blobs.append(bytes(self._received[end : end + size]))
            end += size
        del self._received[:total]
        return Message(_with_blobs(head, blobs))


def _object(data: bytes) -> dict[str, Any]:
    try:
        head = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FrameError("a message that is no JSON") from error
    if not isinstance(head, dict):
        raise FrameError("a message that is no object")
    return head


def _sizes(head: Mapping[str, Any]) -> list[int]:
    sizes = head.get("blobs", [])
    if not isinstance(sizes, list) or any(type(size) is not int or size < 0 for size in sizes):
        raise FrameError("blobs that are no list of lengths")
    if sum(sizes) > MAX_BLOBS:
        raise FrameError(f"blobs of {sum(sizes)} bytes")
    return sizes


def _with_blobs(value: Any, blobs: list[bytes]) -> Any:
    if isinstance(value, list):
        return [_with_blobs(item, blobs) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"blob"}:
        number = value["blob"]
        if type(number) is not int or not 0 <= number < len(blobs):
            raise FrameError("a blob that is not there")
        return blobs[number]
    return {name: _with_blobs(item, blobs) for name, item in value.items()}


def encode(head: Mapping[str, Any]) -> bytes:
    """A message without blobs; the engine has none to send."""
    body = json.dumps(head, separators=(",", ":")).encode()
    return len(body).to_bytes(LENGTH, "big") + body
