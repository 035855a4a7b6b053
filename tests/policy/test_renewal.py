"""When a certificate is renewed, and when an order is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.policy.renewal import (
    LOOK_EVERY,
    NONCE_ATTEMPTS,
    SHORTEST_WAIT,
    Lifetime,
    next_look,
    retry_delay,
    with_another_nonce,
)

DAY = 86400.0
QUARTER = Lifetime(0, 90 * DAY)


class TestWhenItIsDue:
    def test_at_two_thirds_of_its_life(self) -> None:
        assert QUARTER.due() == 60 * DAY
        assert Lifetime(30 * DAY, 36 * DAY).due() == 34 * DAY

    @pytest.mark.parametrize("suggested", [0.0, 10 * DAY, 89 * DAY])
    def test_when_its_authority_suggests(self, suggested: float) -> None:
        assert QUARTER.due(suggested) == suggested

    @pytest.mark.parametrize("suggested", [90 * DAY, 1000 * DAY])
    def test_never_so_late_that_there_would_be_none(self, suggested: float) -> None:
        assert QUARTER.due(suggested) == 60 * DAY


class TestTheNextLook:
    def test_is_when_it_is_due(self) -> None:
        assert next_look(1000, 1000 + 3600) == 3600

    def test_is_never_more_than_six_hours_away(self) -> None:
        assert next_look(0, 60 * DAY) == LOOK_EVERY == 6 * 3600

    @pytest.mark.parametrize("due", [-5.0, 0.0, 1.0])
    def test_is_never_at_once_again(self, due: float) -> None:
        assert next_look(0, due) == SHORTEST_WAIT

    @given(st.floats(0, 1e10), st.floats(0, 1e10))
    def test_comes(self, now: float, due: float) -> None:
        assert SHORTEST_WAIT <= next_look(now, due) <= LOOK_EVERY


class TestARefusal:
    def test_is_followed_by_longer_and_longer_waits(self) -> None:
        delays = [retry_delay(failures) for failures in range(1, 8)]
        assert delays == [60, 300, 900, 3600, LOOK_EVERY, LOOK_EVERY, LOOK_EVERY]

    def test_is_within_what_an_authority_allows_in_an_hour(self) -> None:
        moments = [sum(retry_delay(n) for n in range(1, k)) for k in range(1, 10)]
        assert sum(moment < 3600 for moment in moments) <= 5

    def test_of_too_many_requests_waits_an_hour_at_least(self) -> None:
        assert retry_delay(1, "rateLimited") == 3600
        assert retry_delay(9, "rateLimited") == LOOK_EVERY
        assert retry_delay(1, "unauthorized") == 60


class TestANonce:
    def test_that_was_refused_is_replaced_a_few_times(self) -> None:
        assert [with_another_nonce("badNonce", n) for n in (1, NONCE_ATTEMPTS - 1)] == [True, True]
        assert not with_another_nonce("badNonce", NONCE_ATTEMPTS)

    def test_that_was_not_the_problem_is_not(self) -> None:
        assert not with_another_nonce("unauthorized", 1)
        assert not with_another_nonce("", 1)
