"""How much may wait: the allowance, and one frame of any size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wraith.pubsub.backlog import Backlog


def test_what_waits_comes_out_in_order() -> None:
    backlog = Backlog[str](10)
    for item in ("a", "b", "c"):
        backlog.push(item, 3)
    assert (len(backlog), backlog.waiting, backlog.first()) == (3, 9, "a")
    assert [backlog.pop() for _ in range(3)] == ["a", "b", "c"]
    assert (len(backlog), backlog.waiting) == (0, 0)


def test_one_frame_of_any_size_may_wait_beside_the_allowance() -> None:
    backlog = Backlog[str](10)
    assert backlog.has_room(1_000_000)
    backlog.push("large", 1_000_000)
    assert backlog.has_room(10)
    assert not backlog.has_room(11)
    backlog.push("small", 10)
    assert not backlog.has_room(1)
    backlog.pop()
    assert backlog.has_room(1_000_000), "now the small one is within the allowance"


def test_cleared_it_is_as_new() -> None:
    backlog = Backlog[str](10)
    backlog.push("large", 100)
    backlog.clear()
    assert (len(backlog), backlog.waiting) == (0, 0)
    backlog.push("a", 10)
    backlog.push("b", 5)
    assert not backlog.has_room(6)


@given(st.lists(st.integers(1, 20) | st.none(), max_size=60))
def test_it_says_what_a_plain_list_says(steps: list[int | None]) -> None:
    backlog, plain = Backlog[int](15), list[int]()
    for step in steps:
        if step is None:
            if plain:
                assert backlog.pop() == plain.pop(0)
        else:
            both = [*plain, step]
            room = sum(both) - max(both) <= 15
            assert backlog.has_room(step) is room
            if room:
                backlog.push(step, step)
                plain.append(step)
        assert backlog.waiting == sum(plain)
