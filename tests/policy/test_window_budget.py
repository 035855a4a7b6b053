"""SSH windows out of one budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wraith.policy.window_budget import LARGEST, SMALLEST, WindowBudget

MIB = 1024 * 1024


def test_a_few_channels_get_wide_windows() -> None:
    budget = WindowBudget(64 * MIB)
    assert [budget.grant() for _ in range(4)] == [LARGEST] * 4


def test_many_channels_share_what_is_left_and_each_still_moves() -> None:
    budget = WindowBudget(64 * MIB)
    windows = [budget.grant() for _ in range(1024)]
    assert windows[-1] == SMALLEST
    assert windows == sorted(windows, reverse=True)
    assert sum(windows) <= 2 * 64 * MIB
    assert budget.promised == sum(windows)


def test_a_window_that_comes_back_can_be_promised_again() -> None:
    budget = WindowBudget(64 * MIB)
    windows = [budget.grant() for _ in range(200)]
    for window in windows:
        budget.release(window)
    assert budget.promised == 0
    assert budget.grant() == LARGEST
    assert repr(budget) == f"<WindowBudget promised={LARGEST} total={64 * MIB}>"


@given(st.integers(1, 128 * MIB), st.integers(0, 2000))
def test_the_whole_stays_near_the_budget(total: int, channels: int) -> None:
    budget = WindowBudget(total)
    for _ in range(channels):
        budget.grant()
    assert budget.promised <= total + channels * SMALLEST


def test_a_busy_window_grows_by_what_it_wants_while_there_is_plenty() -> None:
    budget = WindowBudget(64 * MIB)
    window = budget.grant()
    assert budget.grow(window) == window
    assert budget.promised == 2 * window


def test_a_window_grows_by_half_of_what_is_left_at_most_and_never_beyond() -> None:
    budget = WindowBudget(10 * MIB)
    assert budget.grow(64 * MIB) == 5 * MIB
    assert budget.grow(64 * MIB) == 2.5 * MIB
    while budget.grow(64 * MIB):
        pass
    assert budget.promised <= 10 * MIB
    budget.grant()  # the smallest that moves data is given all the same
    assert budget.grow(MIB) == 0
