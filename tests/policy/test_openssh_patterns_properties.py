"""The pattern matcher against the textbook's recursion, on random input."""

from __future__ import annotations

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from wraith.policy.openssh_patterns import match_pattern, match_pattern_list

texts = st.text(alphabet="ab.", max_size=12)
patterns = st.text(alphabet="ab.*?", max_size=8)


@cache
def simply_matches(text: str, pattern: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return simply_matches(text, pattern[1:]) or (
            bool(text) and simply_matches(text[1:], pattern)
        )
    return bool(text) and pattern[0] in ("?", text[0]) and simply_matches(text[1:], pattern[1:])


@given(texts, patterns)
def test_one_pattern(text: str, pattern: str) -> None:
    assert match_pattern(text, pattern) == simply_matches(text, pattern)


@given(texts, st.lists(st.tuples(st.booleans(), patterns), max_size=4))
def test_a_list(text: str, elements: list[tuple[bool, str]]) -> None:
    matching = [negated for negated, pattern in elements if simply_matches(text, pattern)]
    expected = None if not matching else not any(matching)
    written = ",".join(("!" if negated else "") + pattern for negated, pattern in elements)
    if elements:
        assert match_pattern_list(text, written) is expected
