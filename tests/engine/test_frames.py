"""The control channel's messages: every cut of the bytes, and what no host of ours would send."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.engine.frames import MAX_BLOBS, MAX_HEAD, FrameError, FrameReader, encode


def message(head: dict[str, Any], *blobs: bytes) -> bytes:
    return encode({**head, "blobs": [len(blob) for blob in blobs]}) + b"".join(blobs)


EXAMPLE = (
    message({"op": "connect", "options": {"identity": [{"blob": 0}, "path"]}}, b"key", b"")
    + message({"op": "end", "stream": 3})
    + encode({"op": "plain"})
)


def read(*pieces: bytes) -> list[dict[str, Any]]:
    reader = FrameReader()
    return [dict(found.head) for piece in pieces for found in reader.feed(piece)]


def test_messages_are_read_however_they_are_cut() -> None:
    whole = read(EXAMPLE)
    assert [head["op"] for head in whole] == ["connect", "end", "plain"]
    assert whole[0]["options"] == {"identity": [b"key", "path"]}
    for cut in range(len(EXAMPLE) + 1):
        assert read(EXAMPLE[:cut], EXAMPLE[cut:]) == whole
    assert read(*(EXAMPLE[at : at + 1] for at in range(len(EXAMPLE)))) == whole


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        (MAX_HEAD + 1).to_bytes(4, "big"),
        b"\0\0\0\x01{",
        b"\0\0\0\x02[]",
        b"\0\0\0\x02\xff\xff",
        encode({"blobs": 1}),
        encode({"blobs": [-1]}),
        encode({"blobs": [True]}),
        encode({"blobs": [MAX_BLOBS + 1]}),
        encode({"blobs": [], "key": {"blob": 0}}),
        encode({"blobs": [], "key": {"blob": "0"}}),
        b"\0\0\x10\0" + b"[" * 4096,
    ],
)
def test_what_no_host_would_send_is_an_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(FrameError):
        read(data)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        read(data)


def test_a_message_shows_no_secret() -> None:
    reader = FrameReader()
    (found,) = reader.feed(message({"op": "connect", "key": {"blob": 0}}, b"secret"))
    assert repr(found) == "<Message op='connect'>"
    assert repr(reader) == "<FrameReader received=0>"
