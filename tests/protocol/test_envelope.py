"""Frames of events: the shared examples, every cut of them, and what holds for any event."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.playbook import cuts
from tests.support.vectors import Case, cases, event_of, limit_of, name_of
from wraith.errors import EventError, FrameError, WraithError
from wraith.protocol.envelope import (
    LARGEST_NUMBER,
    EventEnvelope,
    EventReader,
    application_event,
    decode_body,
    decode_copy,
    encode_body,
    encode_frame,
    requested_topic,
    subscribe,
    unsubscribe,
    with_origin,
)
from wraith.protocol.events import NEED_DATA, Malformed

frames, streams, refused = cases("frames"), cases("streams"), cases("refused")

Outcome = tuple[list[dict[str, Any]], str]


def read(pieces: Iterable[bytes], max_frame: int) -> Outcome:
    """What a stream came to, in the words of the examples."""
    reader, results = EventReader(max_frame), list[dict[str, Any]]()
    try:
        for piece in pieces:
            reader.receive_data(piece)
            while (event := reader.next_event()) is not NEED_DATA:
                if isinstance(event, Malformed):
                    results.append({"malformed": True})
                else:
                    assert isinstance(event, EventEnvelope)
                    whole = {"type": event.type, "id": event.id, "payload": event.payload}
                    results.append({"event": whole})
        reader.receive_eof()
    except WraithError as error:
        return results, error.code
    return results, "clean"


@pytest.mark.parametrize("case", frames, ids=name_of)
def test_an_event_is_written_as_its_frame(case: Case) -> None:
    event = event_of(case)
    assert encode_frame(event).hex() == case["hex"]
    assert event.topic == case["topic"]
    assert read([bytes.fromhex(case["hex"])], 1024) == ([{"event": case["event"]}], "clean")


@pytest.mark.parametrize("case", streams, ids=name_of)
def test_a_stream_comes_to_the_same_however_it_is_cut(case: Case) -> None:
    data, expected = bytes.fromhex(case["hex"]), (case["results"], case["end"])
    for pieces in cuts(data):
        assert read(pieces, limit_of(case)) == expected, pieces


@pytest.mark.parametrize("case", refused, ids=name_of)
def test_what_cannot_be_sent_is_refused(case: Case) -> None:
    event = event_of(case)
    with pytest.raises(EventError) as caught:
        encode_frame(application_event(event.type, event.id, event.payload), limit_of(case))
    assert caught.value.code == case["code"]


@pytest.mark.parametrize(
    "payload", [b"bytes", {1, 2}, object(), {("a",): 1}, {"a": [1, {"b": math.nan}]}]
)
def test_what_json_cannot_say_is_refused(payload: Any) -> None:
    with pytest.raises(EventError):
        encode_frame(EventEnvelope("a", "", payload))


def test_a_value_that_holds_itself_and_one_too_deep_are_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for payload in (circle, deep):
        with pytest.raises(EventError):
            encode_frame(EventEnvelope("a", "", payload))


def test_a_body_too_deep_to_read_is_malformed() -> None:
    with pytest.raises(ValueError, match="not UTF-8 JSON"):
        decode_body(b'{"type":"a","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@pytest.mark.parametrize("names", [(1, ""), ("a", None), (None, "")])
def test_type_and_id_are_text(names: tuple[Any, Any]) -> None:
    with pytest.raises(EventError, match="must be text"):
        application_event(*names)


def test_a_limit_has_limits() -> None:
    for size in (0, 1023, 64 * 1024 * 1024 + 1):
        with pytest.raises(ValueError, match="1 KiB to 64 MiB"):
            EventReader(size)


def test_no_room_is_made_for_what_is_only_announced() -> None:
    reader = EventReader()
    reader.receive_data((16 * 1024 * 1024).to_bytes(4, "big") + b"{")
    assert reader.next_event() is NEED_DATA
    assert reader.held == 5
    reader = EventReader()
    reader.receive_data(b"\1\0\0\1")
    for _ in range(2):
        with pytest.raises(FrameError):
            reader.next_event()


@pytest.mark.parametrize("make", [subscribe, unsubscribe])
def test_a_control_message_names_its_topic(make: Any) -> None:
    message = make("chat.msg:room-1")
    assert message.is_reserved
    assert requested_topic(message) == "chat.msg:room-1"


@pytest.mark.parametrize("payload", [None, [], "chat:", {}, {"topic": None}, {"topic": ["a:"]}])
def test_one_that_names_none_is_seen(payload: Any) -> None:
    assert requested_topic(EventEnvelope("__subscribe", "", payload)) is None


def test_the_copy_for_other_servers_names_its_origin() -> None:
    event = EventEnvelope("tick", "a", [1])
    copy = with_origin(encode_body(event), "me")
    assert copy == b'{"type":"tick","id":"a","payload":[1],"origin":"me"}'
    assert decode_copy(copy) == (event, "me")
    assert decode_copy(encode_body(event)) == (event, "")
    assert decode_copy(b'{"type":"tick","id":"a","payload":[1],"origin":7}') == (event, "")


def test_an_event_does_not_show_what_it_says() -> None:
    assert repr(application_event("chat", "room", "secret")) == "<EventEnvelope ***>"


# What holds for any event

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = (
    st.integers(-LARGEST_NUMBER, LARGEST_NUMBER)
    | st.floats(-LARGEST_NUMBER, LARGEST_NUMBER)
    | st.booleans()
)
payloads = st.recursive(
    st.none() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
events = st.builds(application_event, texts.map("a".__add__), texts, payloads)


@given(st.lists(events, max_size=4), st.lists(st.integers(1, 40), max_size=30))
def test_what_is_written_is_read_again(sent: list[EventEnvelope], lengths: list[int]) -> None:
    data = b"".join(map(encode_frame, sent))
    pieces, at = [], 0
    for length in lengths:
        pieces.append(data[at : at + length])
        at += length
    results, end = read([*pieces, data[at:]], 1024 * 1024)
    assert end == "clean"
    assert [EventEnvelope(**result["event"]) for result in results] == sent


@given(st.binary(max_size=200), st.lists(st.integers(1, 12), max_size=10))
def test_any_bytes_are_events_or_one_of_two_errors(data: bytes, lengths: list[int]) -> None:
    pieces, at = [], 0
    for length in lengths:
        pieces.append(data[at : at + length])
        at += length
    assert read([data], 1024) == read([*pieces, data[at:]], 1024)
    assert read([data], 1024)[1] in {"clean", "WRAITH_FRAME", "WRAITH_TRUNCATED"}


@given(st.binary(max_size=60) | payloads.map(lambda value: str(value).encode(errors="replace")))
def test_any_body_is_an_event_that_can_be_sent_on_or_malformed(body: bytes) -> None:
    try:
        event = decode_body(body)
    except ValueError:
        return
    assert decode_body(encode_body(event)) == event
