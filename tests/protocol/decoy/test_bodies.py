from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.protocol.decoy.bodies import BadBody, Body, ChunkedBody, CountedBody

HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def test_a_counted_body_ends_with_its_last_byte() -> None:
    body = CountedBody(5)
    assert body.discard(b"hel") == b""
    assert not body.done
    assert body.wants() == 2
    assert body.discard(b"loGET") == b"GET"
    assert body.done


@pytest.mark.parametrize(
    "chunks",
    [
        HELLO,
        b"5\nhello\n0\n\n",
        b"005;a=b \rx",
        b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
        b"5;a\nhello\r\n0 \n\r\n",
        b"5 \r\nhello\r\n000\r\nA: b\r\nC\n\r\n",
        b"A\r\n0123456789\r\n0\r\n\r\n",
    ],
)
def test_chunks_end_where_they_say(chunks: bytes) -> None:
    body = ChunkedBody()
    if b"\rx" in chunks:
        with pytest.raises(BadBody):
            body.discard(chunks)
        return
    assert body.discard(chunks + b"GET") == b"GET"
    assert body.done


@pytest.mark.parametrize(
    "chunks",
    [
        *(b"x", b"-1", b"\r\n", b"0x", b"5x", b"5\rx", b"5\r\nhello!", b"5\r\nhello\rx"),
        *(b"0\r\nA\rx", b"0\r\n\rx", b"0\rx", b"ffffffffffffffff", b"7fffffffffffffff"),
        b"800000000000000\r\n",
    ],
)
def test_bad_chunks_are_noticed_at_once(chunks: bytes) -> None:
    body: Body = ChunkedBody()
    with pytest.raises(BadBody):
        body.discard(chunks)


@pytest.mark.parametrize("cut", range(1, len(HELLO)))
def test_cuts_change_nothing(cut: int) -> None:
    body = ChunkedBody()
    assert body.discard(HELLO[:cut]) == b""
    assert not body.done
    assert body.wants() > 4096
    assert body.discard(HELLO[cut:] + b"rest") == b"rest"
    assert body.done


CHUNK = re.compile(rb"([0-9a-fA-F]{1,14})(?:[; \t][^\r\n]*)?\r?\n")
TRAILERS = re.compile(rb"(?:[^\r\n][^\r\n]*\r?\n)*\r?\n")


def naive_rest(data: bytes) -> bytes | None:
    """The twin: what follows a chunked body that is there as a whole; None if none is."""
    while match := CHUNK.match(data):
        size, data = int(match[1], 16), data[match.end() :]
        if not size:
            trailers = TRAILERS.match(data)
            return data[trailers.end() :] if trailers else None
        end = re.match(rb"\r?\n", data[size:])
        if len(data) < size or not end:
            return None
        data = data[size + end.end() :]
    return None


pieces = st.sampled_from(
    [
        b"0",
        b"1",
        b"a",
        b"\r\n",
        b"\n",
        b"\r",
        b"x",
        b";e",
        b" ",
        b"T: u\r\n",
        b"1\r\nx\r\n",
        b"0\r\n\r\n",
    ]
)


@given(st.lists(pieces, max_size=10).map(b"".join), st.data())
def test_any_chunks_are_followed_as_by_the_naive_way(data: bytes, draw: st.DataObject) -> None:
    cut = draw.draw(st.integers(0, len(data)))
    body = ChunkedBody()
    try:
        rest = body.discard(data[:cut])
        rest = (rest + data[cut:]) if body.done else body.discard(data[cut:])
    except BadBody:
        assert naive_rest(data) is None
    else:
        assert (rest if body.done else None) == naive_rest(data)
