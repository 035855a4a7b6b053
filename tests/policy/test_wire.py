"""Reading SSH's data types: what is there, and never more than is there."""

from __future__ import annotations

import pytest

from wraith.policy.wire import Reader


def test_each_type_is_read_and_the_rest_is_left() -> None:
    reader = Reader(b"\x07" + b"\x00\x00\x01\x00" + b"\x00" * 7 + b"\x09" + b"\0\0\0\2hi" + b"tail")

    assert (reader.byte(), reader.uint32(), reader.uint64()) == (7, 256, 9)
    assert reader.text() == "hi"
    assert reader
    assert reader.take(4) == b"tail"
    assert not reader
    reader.finish()


def test_strings_to_the_end() -> None:
    assert Reader(b"\0\0\0\1a\0\0\0\0").strings() == [b"a", b""]
    assert Reader(b"").strings() == []


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\0\0\0\0", 0),
        (b"\0\0\0\1\x7f", 127),
        (b"\0\0\0\2\x00\x80", 128),  # RFC 4251: a zero keeps it positive
    ],
)
def test_natural_numbers(data: bytes, value: int) -> None:
    assert Reader(data).natural() == value


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\0\0\0\5four", b"\xff\xff\xff\xffx"])
def test_what_ends_too_early_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="ends too early"):
        Reader(data).string()


def test_what_is_no_such_value_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="negative"):
        Reader(b"\0\0\0\1\x80").natural()
    with pytest.raises(ValueError, match="NUL"):
        Reader(b"\0\0\0\3a\0b").text()
    with pytest.raises(ValueError, match="utf-8"):
        Reader(b"\0\0\0\1\xff").text()
    with pytest.raises(ValueError, match="left over"):
        Reader(b"x").finish()


def test_text_can_keep_what_is_not_utf_8() -> None:
    assert Reader(b"\0\0\0\1\xff").text(errors="surrogateescape") == "\udcff"
