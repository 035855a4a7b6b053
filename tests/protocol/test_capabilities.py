"""What a server says that it can do, and what it cannot make us believe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.protocol import capabilities


def test_what_is_said_is_understood() -> None:
    assert capabilities.encode([]) == b""
    assert capabilities.encode(["udp", "another@example.com"]) == b"another@example.com,udp"
    assert capabilities.decode(b"another@example.com,udp") == {"udp", "another@example.com"}
    assert capabilities.decode(b"") == frozenset()


@pytest.mark.parametrize("answer", [b",,", b"\xff\xfe", b"a b", b"\x1b[2J", b"x" * 65])
def test_what_is_no_name_does_not_count(answer: bytes) -> None:
    assert capabilities.decode(answer) == frozenset()
    assert capabilities.decode(answer + b",udp") == {"udp"}


def test_a_long_answer_is_not_looked_at_to_the_end() -> None:
    assert capabilities.decode(b"," * capabilities.MAX_ANSWER + b"udp") == frozenset()


@given(st.binary(max_size=200))
def test_any_answer_is_some_set_of_printable_names(answer: bytes) -> None:
    assert all(name.isascii() and name.isprintable() for name in capabilities.decode(answer))
