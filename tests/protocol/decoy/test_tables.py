from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.protocol.decoy.tables import LAST_END, State, walk


def read(start: State, data: bytes) -> tuple[State, int]:
    return walk(start, data, 0)


@pytest.mark.parametrize(
    ("line", "state"),
    [
        (b"GET / HTTP/1.1\r\n", State.DONE),
        (b"GET /\n", State.DONE),
        (b"FOO-_BAR   /a?b#c   HTTP/1.0  \r\n", State.DONE),
        (b"GET http://[::1]:80/ HTTP/1.1\n", State.DONE),
        (b"GET http://h?q HTTP/1.123\n", State.DONE),
        (b"GET / HTTP/1.0001\n", State.DONE),
        (b"g", State.INVALID),
        (b"GET *", State.INVALID),
        (b"GET / HTTP/0", State.INVALID),
        (b"GET / HTTP/1.1000", State.INVALID),
        (b"GET /\x7f", State.INVALID),
        (b"GET / HTTP/2", State.UNKNOWN_VERSION),
        (b"GET / HTTP/10", State.UNKNOWN_VERSION),
    ],
)
def test_a_request_line_is_judged_at_the_byte_that_decides_it(line: bytes, state: State) -> None:
    assert read(State.START, line) == (state, len(line))
    assert read(State.START, line[:-1])[0] > LAST_END, "no byte earlier"
    assert read(State.START, line + b"more") == (state, len(line)), "and what follows is not read"


@pytest.mark.parametrize(
    ("line", "state"),
    [
        (b"Host: a\r\n", State.DONE),
        (b"Host\n", State.DONE),
        (b"a_b!\xff: c\x01\x7f \r\r\n", State.DONE),
        (b"a:\r\n", State.DONE),
        (b"\r\n", State.HEAD_DONE),
        (b"\n", State.HEAD_DONE),
        (b" ", State.INVALID),
        (b":", State.INVALID),
        (b"a ", State.INVALID),
        (b"a: \0", State.INVALID),
        (b"a: b\rc", State.INVALID),
        (b"\ra", State.INVALID),
    ],
)
def test_a_header_line_is_judged_at_the_byte_that_decides_it(line: bytes, state: State) -> None:
    assert read(State.NAME_START, line) == (state, len(line))
    assert read(State.NAME_START, line[:-1])[0] > LAST_END or line in (b" ", b":")


def test_ssh_is_a_method_until_a_digit_comes() -> None:
    assert read(State.START, b"SSH-") == (State.METHOD, 4)
    assert read(State.START, b"SSH-2") == (State.INVALID, 5)


NAIVE_LINE = re.compile(
    rb"[\r\n]*[A-Z_-]+ +"
    rb"(?:/[^\x00-\x20\x7f]*|[A-Za-z][A-Za-z0-9+.-]*://"
    rb"(?:\[[A-Za-z0-9:._~!$&'()*+,;=-]*\]|[A-Za-z0-9.-]*)(?::[0-9]*)?"
    rb"(?:[/?][^\x00-\x20\x7f]*|(?= )))"
    rb"(?: *| +HTTP/1\.0*(?:0|[1-9][0-9]{0,2}) *)\r?\n"
)
"""The twin: the whole line at once, as one would write it down from the grammar."""

pieces = st.sampled_from(
    [
        *(b"GET", b"get", b" ", b"/", b"http://", b"h", b"[::1]", b":80", b"?", b"#", b"%41"),
        *(
            b" HTTP/",
            b"1.1",
            b"1.0",
            b"2.0",
            b"1.9999",
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b"\xff",
            b"x",
        ),
    ]
)
lines = st.lists(pieces, max_size=12).map(b"".join) | st.builds(
    lambda target, rest: b"GET " + target + b" HTTP/1.1" + rest + b"\n",
    st.lists(pieces, max_size=4).map(b"".join),
    st.lists(pieces, max_size=2).map(b"".join),
)


@given(lines)
def test_what_the_table_takes_is_what_the_grammar_has(line: bytes) -> None:
    state, position = read(State.START, line)
    if state is State.DONE:
        assert NAIVE_LINE.fullmatch(line[:position])
    else:
        assert not NAIVE_LINE.match(line)


@given(lines | st.binary(max_size=40), st.sampled_from([State.START, State.NAME_START]))
def test_cuts_change_nothing(data: bytes, start: State) -> None:
    whole = walk(start, data, 0)
    state, position = start, 0
    for end in range(1, len(data) + 1):
        if state > LAST_END:
            state, position = walk(state, data[:end], position)
    assert (state, position) == whole
