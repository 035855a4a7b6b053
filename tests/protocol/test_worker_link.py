"""What parent and workers say to each other, however the bytes are cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.protocol import worker_link
from wraith.protocol.events import NEED_DATA
from wraith.protocol.worker_link import (
    Copy,
    LinkError,
    LinkReader,
    Message,
    Said,
    encode_copy,
    encode_said,
)

SAID = st.builds(
    lambda op, fields: Said(op, {name: value for name, value in fields.items() if name != "op"}),
    st.text(),
    st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())),
)
COPIES = st.builds(Copy, st.text(), st.binary(max_size=300))
MESSAGES = st.lists(SAID | COPIES, max_size=6)


def written(message: Message) -> bytes:
    if isinstance(message, Copy):
        return encode_copy(message.topic, message.body)
    return worker_link._encode(0, json.dumps({"op": message.op, **message.fields}).encode())


def read(*pieces: bytes) -> list[Message]:
    reader, found = LinkReader(), []
    for piece in pieces:
        reader.receive_data(piece)
        while (message := reader.next_message()) is not NEED_DATA:
            assert isinstance(message, Said | Copy)
            found.append(message)
    return found


def test_an_object_and_a_copy() -> None:
    data = encode_said("end", token=7, offence=None) + encode_copy("a:b", b"{}")
    assert read(data) == [Said("end", {"token": 7, "offence": None}), Copy("a:b", b"{}")]


@given(MESSAGES)
def test_every_cut_gives_the_same(messages: list[Message]) -> None:
    data = b"".join(map(written, messages))
    assert read(data) == messages
    assert read(*(data[at : at + 1] for at in range(len(data)))) == messages
    for at in range(0, len(data), 7):
        assert read(data[:at], data[at:]) == messages


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        read(data)
    except LinkError:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\3\0[]",
        b"\0\0\0\3\0{}",
        b'\0\0\0\x0a\0{"op": 1}',
        b"\0\0\0\3\0{[",
        b"\0\0\0\1\2",
        b"\0\0\0\0\0",
        b"\0\0\0\4\1abc",
        b"\0\0\0\6\1\0\0\0\2a",
        b"\0\0\0\6\1\0\0\0\1\xff",
        (worker_link.MAX_HEAD + 1).to_bytes(4, "big") + b"\0",
    ],
)
def test_what_makes_no_sense_ends_it(data: bytes) -> None:
    with pytest.raises(LinkError):
        read(data)


def test_a_length_is_judged_before_its_body_is_there() -> None:
    with pytest.raises(LinkError):
        read((worker_link.MAX_COPY + 1).to_bytes(4, "big") + b"\1")


def test_what_is_too_large_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_link, "_LIMITS", {0: 100, 1: 100})
    with pytest.raises(ValueError, match="a message of"):
        encode_said("begin", orders="x" * 100)


def test_half_of_a_pair_in_a_topic_travels() -> None:
    assert read(encode_copy("\ud800:", b"")) == [Copy("\ud800:", b"")]


def test_neither_shows_what_is_in_it() -> None:
    assert repr(Said("begin", {"secret": 1})) == "<Said begin>"
    assert repr(Copy("a:b", b"secret")) == "<Copy ***>"
