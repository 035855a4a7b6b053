"""Events on a stream of bytes: length-prefixed frames, each with one envelope as JSON.

    frame = length (4 bytes, unsigned, big-endian) || body (UTF-8 JSON)
    body  = {"type":"chat.msg","id":"room-1","payload":{"text":"hé"}}

A body is written compactly, with the three members in this order. Read, an `id` that is missing is
empty, a `payload` that is missing is null, and unknown members are ignored. What may not be sent is
malformed when it comes: one rule for both directions, which JavaScript keeps as well.

The topic of an event is its type, a colon and its id. Types that begin with `__` belong to the
protocol. docs/reference/wire-formats.md is the whole of it, and `vectors/` its examples.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from wraith.errors import EventError, FrameError, StreamTruncated
from wraith.protocol.events import NEED_DATA, Malformed, NeedData
from wraith.protocol.machine import Machine

DEFAULT_MAX_FRAME = 16 * 1024 * 1024
SMALLEST_MAX_FRAME = 1024
LARGEST_MAX_FRAME = 64 * 1024 * 1024

LARGEST_NUMBER = 2**53 - 1
"""What every JSON parser reads exactly (RFC 8259 section 6); beyond it, JavaScript rounds."""

RESERVED_TYPES = "__"
SUBSCRIBE = "__subscribe"
UNSUBSCRIBE = "__unsubscribe"

_HEADER = 4
_HALF_OF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class EventEnvelope:
    """One event. `payload` is what JSON can say: None, bool, numbers, text, lists and dicts."""

    type: str
    id: str = ""
    payload: Any = None

    @property
    def topic(self) -> str:
        """`type:id`, with its colon even where the id is empty."""
        return f"{self.type}:{self.id}"

    @property
    def is_reserved(self) -> bool:
        """Whether the type is one of the protocol's own."""
        return self.type.startswith(RESERVED_TYPES)

    def __repr__(self) -> str:
        return "<EventEnvelope ***>"  # what people tell each other has no place in a log


def application_event(
    type: str,  # noqa: A002 - the words of the wire
    id: str = "",  # noqa: A002
    payload: Any = None,
) -> EventEnvelope:
    """An event of a program's own. Raises `EventError` for a type or an id that it may not have."""
    if not isinstance(type, str) or not isinstance(id, str):
        raise EventError("the type and the id of an event must be text")
    if not type:
        raise EventError("an event must have a type")
    if type.startswith(RESERVED_TYPES):
        raise EventError(
            "event types that begin with '__' are reserved", hint="give the event another type"
        )
    return EventEnvelope(type, id, payload)


def subscribe(topic: str) -> EventEnvelope:
    """The request for the events of a topic."""
    return EventEnvelope(SUBSCRIBE, "", {"topic": topic})


def unsubscribe(topic: str) -> EventEnvelope:
    """The end of that request."""
    return EventEnvelope(UNSUBSCRIBE, "", {"topic": topic})


def requested_topic(control: EventEnvelope) -> str | None:
    """The topic that a `__subscribe` or `__unsubscribe` names, or None where it names none."""
    payload = control.payload
    topic = payload.get("topic") if isinstance(payload, dict) else None
    return topic if isinstance(topic, str) else None


def checked_max_frame(size: int) -> int:
    """Return `size`, in bytes, if it may be the limit of a frame. Raises `ValueError`."""
    if not SMALLEST_MAX_FRAME <= size <= LARGEST_MAX_FRAME:
        raise ValueError("the limit of a frame must be from 1 KiB to 64 MiB")
    return size


# Writing

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_frame(envelope: EventEnvelope, max_frame: int = DEFAULT_MAX_FRAME) -> bytes:
    """The bytes of an event. Raises `EventError` for what JSON or `max_frame` does not allow."""
    return frame(encode_body(envelope), max_frame)


def frame(body: bytes, max_frame: int = DEFAULT_MAX_FRAME) -> bytes:
    """A body with its length before it. Raises `EventError` for one that is too large."""
    if len(body) > max_frame:
        raise EventError(f"an event of {len(body)} bytes is larger than a frame may be")
    return len(body).to_bytes(_HEADER, "big") + body


def encode_body(envelope: EventEnvelope) -> bytes:
    """The JSON of an event. Raises `EventError` for what cannot be said in it."""
    whole = {"type": envelope.type, "id": envelope.id, "payload": envelope.payload}
    try:
        body = _encoder.encode(whole).encode()
    except UnicodeEncodeError:
        raise EventError("half of a surrogate pair cannot be sent") from None
    except (TypeError, ValueError, RecursionError):
        raise EventError(
            "an event can only hold what JSON can say",
            hint="send bytes as base64 text, and dates as text",
        ) from None
    _check_numbers(envelope.payload)
    return body


def with_origin(body: bytes, origin: str) -> bytes:
    """The copy of an event for other servers: its body, and the mark of the server it is from.

    By this fourth member a server knows its own events when they come back to it; whoever does not
    know it ignores it. `origin` is ASCII letters and digits.
    """
    return b'%b,"origin":"%b"}' % (body[:-1], origin.encode())


def _check_numbers(payload: Any) -> None:
    """Not by recursion, and only once the encoder has found no cycle."""
    waiting = [payload]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) or value is None:
            continue
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        elif not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise EventError(
                "numbers beyond 2^53 - 1 cannot be sent", hint="send large numbers as text"
            )


# Reading


def _number(value: float) -> float:
    if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise ValueError("a number is out of range")
    return value


def _no_number(_text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_decoder = json.JSONDecoder(
    parse_int=lambda text: _number(int(text)),
    parse_float=lambda text: _number(float(text)),
    parse_constant=_no_number,
)


def decode_body(body: bytes | bytearray) -> EventEnvelope:
    """The event in a body. Raises `ValueError`, which says nothing of what is in it."""
    return decode_copy(body)[0]


def decode_copy(body: bytes | bytearray) -> tuple[EventEnvelope, str]:
    """The event in a body, and the origin that it names, if it does. Raises as `decode_body`."""
    try:
        text = body.decode()
        whole = _decoder.decode(text)
        if _HALF_OF_A_PAIR.search(text):
            _encoder.encode(whole).encode()
    except (ValueError, RecursionError):
        raise ValueError("not UTF-8 JSON that may be sent") from None
    if not isinstance(whole, dict):
        raise ValueError("not an object")
    kind, name, origin = whole.get("type"), whole.get("id", ""), whole.get("origin")
    if not isinstance(kind, str) or not kind:
        raise ValueError("no type")
    if not isinstance(name, str):
        raise ValueError("an id that is no text")
    envelope = EventEnvelope(kind, name, whole.get("payload"))
    return envelope, origin if isinstance(origin, str) else ""


ReadEvent: TypeAlias = EventEnvelope | Malformed | NeedData


class EventReader(Machine):
    """Bytes in, events out. `max_frame` is in bytes; `ValueError` beyond 1 KiB to 64 MiB."""

    def __init__(self, max_frame: int = DEFAULT_MAX_FRAME) -> None:
        super().__init__()
        self._max_frame = checked_max_frame(max_frame)

    @property
    def held(self) -> int:
        """Bytes that have come and are not yet part of an event."""
        return len(self._incoming)

    def next_event(self) -> ReadEvent:
        """The next event; `Malformed` for a body to skip; `NEED_DATA` when there is no more yet.

        Raises `FrameError` for a length of 0 or beyond the limit, as soon as it is there: before
        room is made for the body. After that the stream makes no sense any more.
        """
        incoming = self._incoming
        if len(incoming) < _HEADER:
            return NEED_DATA
        length = int.from_bytes(incoming[:_HEADER], "big")
        if not 0 < length <= self._max_frame:
            raise FrameError(f"the other side announced a frame of {length} bytes")
        end = _HEADER + length
        if len(incoming) < end:
            return NEED_DATA
        body = incoming[_HEADER:end]
        del incoming[:end]
        try:
            return decode_body(body)
        except ValueError as error:
            return Malformed(str(error))

    def receive_eof(self) -> None:
        """Note the end of the stream, once no event is left. Raises `StreamTruncated`."""
        if self._incoming:
            raise StreamTruncated("the stream ended in the middle of a frame")
