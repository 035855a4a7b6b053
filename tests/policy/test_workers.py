"""Several processes that serve together: turns, shares, and second lives."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from wraith.policy.workers import GOOD_LIFE, LONGEST_DELAY, Restarts, Shares, total


class TestRestarts:
    def test_one_that_cannot_live_is_tried_less_and_less(self) -> None:
        restarts = Restarts()
        assert [restarts.delay(0.1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
        assert repr(restarts) == f"<Restarts delay={LONGEST_DELAY:g}>"

    def test_one_that_lived_well_is_followed_at_once(self) -> None:
        restarts = Restarts()
        for _ in range(5):
            restarts.delay(1.0)
        assert restarts.delay(GOOD_LIFE) == 0
        assert restarts.delay(1.0) == 0.5

    def test_one_that_was_asked_to_end_is_followed_at_once(self) -> None:
        assert Restarts().delay(0.1, asked=True) == 0


class TestShares:
    def test_equals_take_turns(self) -> None:
        shares = Shares()
        assert [shares.choose([3, 1, 2]) for _ in range(4)] == [1, 2, 3, 1]

    def test_nobody_is_there(self) -> None:
        assert Shares().choose([]) is None

    def test_the_one_with_the_fewest_is_next(self) -> None:
        shares = Shares()
        shares.give(10, 1)
        shares.give(11, 2)
        shares.give(12, 1)
        assert shares.choose([1, 2]) == 2
        shares.take_back(10)
        shares.take_back(12)
        assert shares.choose([1, 2]) == 1
        assert repr(shares) == "<Shares {1: 0, 2: 1}>"

    def test_a_place_is_given_back_once(self) -> None:
        shares = Shares()
        shares.give(1, 7)
        shares.take_back(1)
        shares.take_back(1)
        shares.give(2, 7)
        assert shares.tokens_of(7) == [2]
        assert len(shares) == 1

    def test_what_a_worker_does_not_hold_is_none_of_its_business(self) -> None:
        shares = Shares()
        shares.give(1, 7)
        assert shares.holds(1, 7)
        assert not shares.holds(1, 8)
        assert not shares.holds(2, 7)

    def test_all_that_a_dead_worker_held(self) -> None:
        shares = Shares()
        for token in range(6):
            shares.give(token, token % 2)
        assert shares.tokens_of(1) == [1, 3, 5]

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=200))
    def test_it_is_what_plain_counting_says(self, steps: list[tuple[bool, int]]) -> None:
        shares, naive = Shares(), dict[int, int]()
        for comes, token in steps:
            if comes and token not in naive:
                worker = shares.choose([1, 2, 3])
                assert worker is not None
                held = Counter(naive.values())
                assert held[worker] == min(held[item] for item in (1, 2, 3))
                shares.give(token, worker)
                naive[token] = worker
            elif not comes:
                shares.take_back(token)
                naive.pop(token, None)
        assert {item: shares.tokens_of(item) for item in (1, 2, 3)} == {
            item: [token for token, holder in naive.items() if holder == item] for item in (1, 2, 3)
        }


def test_several_counts_are_one() -> None:
    assert total([Counter(a=1, b=2), Counter(b=3)]) == {"a": 1, "b": 5}
    assert total([]) == {}
