"""Is the peer still there?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wraith.policy.liveness import Liveness, Verdict


def test_a_silent_peer_is_asked_twice_and_then_dead() -> None:
    liveness = Liveness(15, now=0)
    assert liveness.next_check == 15
    assert liveness.check(15) is Verdict.ASK
    assert liveness.next_check == 30
    assert liveness.check(30) is Verdict.ASK
    assert liveness.next_check == 45
    assert liveness.check(45) is Verdict.DEAD


def test_whatever_arrives_starts_the_count_again() -> None:
    liveness = Liveness(15, now=0)
    assert liveness.check(15) is Verdict.ASK
    liveness.heard(20)
    assert liveness.check(30) is Verdict.ALIVE
    assert liveness.next_check == 35
    assert liveness.check(35) is Verdict.ASK


def test_after_a_sleep_of_our_own_the_peer_is_asked_before_it_is_dead() -> None:
    liveness = Liveness(15, now=0)
    assert liveness.check(3600) is Verdict.ASK
    assert liveness.next_check == 3615
    assert liveness.check(3615) is Verdict.DEAD


def test_a_peer_that_answers_after_the_sleep_is_alive() -> None:
    liveness = Liveness(15, now=0)
    assert liveness.check(3600) is Verdict.ASK
    liveness.heard(3601)
    assert liveness.check(3615) is Verdict.ALIVE
    assert liveness.next_check == 3616


@given(st.floats(0.1, 60), st.lists(st.floats(0, 30), max_size=20))
def test_death_comes_within_three_intervals_of_the_last_word(
    interval: float, words: list[float]
) -> None:
    now = 0.0
    liveness = Liveness(interval, now)
    for pause in words:
        now += pause
        liveness.heard(now)
    last = now
    for _ in range(4):
        now = liveness.next_check
        if liveness.check(now) is Verdict.DEAD:
            break
    assert now - last <= 3 * interval * (1 + 1e-9)
    assert liveness.check(now) is Verdict.DEAD
