"""What the parent of several workers and each of them say to each other, as bytes.

    message = length (4 bytes, big-endian) || kind (1 byte) || body, `length` bytes with the kind
    body of kind 0 = a JSON object (UTF-8), its member `op` says what about
    body of kind 1 = length of the topic (4 bytes, big-endian) || topic (UTF-8) || copy of an event

Both ends are of one version, started by the same program: there is no negotiation. A copy of an
event is opaque here, as it is to other servers. Nothing here does I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from wraith.protocol.envelope import LARGEST_MAX_FRAME
from wraith.protocol.events import NEED_DATA, NeedData
from wraith.protocol.machine import Machine

MAX_HEAD = 16 * 1024 * 1024
"""Bytes of an object: a worker's options, with every key given on the command line."""

MAX_COPY = 2 * LARGEST_MAX_FRAME + 1024
"""Bytes of a copy: the topic is in it twice."""

_LENGTH = 4
_OBJECT, _COPY = 0, 1
_LIMITS = {_OBJECT: MAX_HEAD, _COPY: MAX_COPY}


class LinkError(Exception):
    """The other end does not speak as agreed: the link cannot be used any more."""


@dataclass(frozen=True, slots=True, repr=False)
class Said:
    """One object."""

    op: str
    fields: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<Said {self.op}>"  # a worker's options hold secrets


@dataclass(frozen=True, slots=True, repr=False)
class Copy:
    """A copy of an event."""

    topic: str
    body: bytes

    def __repr__(self) -> str:
        return "<Copy ***>"


Message: TypeAlias = Said | Copy


def encode_said(op: str, **fields: Any) -> bytes:
    """The bytes of an object. Raises `ValueError` for one that is too large."""
    body = json.dumps({"op": op, **fields}, separators=(",", ":")).encode()
    return _encode(_OBJECT, body)


def encode_copy(topic: str, body: bytes) -> bytes:
    """The bytes of a copy."""
    name = topic.encode(errors="surrogatepass")
    return _encode(_COPY, len(name).to_bytes(_LENGTH, "big") + name + body)


def _encode(kind: int, body: bytes) -> bytes:
    if len(body) >= _LIMITS[kind]:
        raise ValueError(f"a message of {len(body)} bytes")
    return (1 + len(body)).to_bytes(_LENGTH, "big") + bytes((kind,)) + body


class LinkReader(Machine):
    """Takes bytes as they come and gives whole messages."""

    def next_message(self) -> Message | NeedData:
        """The next one; `NEED_DATA` when there is no more yet. Raises `LinkError`, for good."""
        incoming = self._incoming
        if len(incoming) <= _LENGTH:
            return NEED_DATA
        length, kind = int.from_bytes(incoming[:_LENGTH], "big"), incoming[_LENGTH]
        if kind not in _LIMITS or not 0 < length <= _LIMITS[kind]:
            raise LinkError(f"a message of kind {kind} and {length} bytes")
        end = _LENGTH + length
        if len(incoming) < end:
            return NEED_DATA
        body = bytes(memoryview(incoming)[_LENGTH + 1 : end])
        del incoming[:end]
        return _said(body) if kind == _OBJECT else _copy(body)


def _said(body: bytes) -> Said:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise LinkError("an object that is no JSON") from error
    if not isinstance(fields, dict) or not isinstance(op := fields.pop("op", None), str):
        raise LinkError("an object that does not say what about")
    return Said(op, fields)


def _copy(body: bytes) -> Copy:
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "big")
    if len(body) < max(end, _LENGTH):
        raise LinkError("a copy that is cut short")
    try:
        return Copy(body[_LENGTH:end].decode(errors="surrogatepass"), body[end:])
    except UnicodeDecodeError as error:
        raise LinkError("a topic that is no text") from error
