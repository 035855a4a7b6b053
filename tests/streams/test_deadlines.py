"""Many members, one timer."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.loops import LOOPS, NewLoop, run_under
from wraith.streams.deadlines import Deadlines


class Member:
    def __init__(self, deadlines: Deadlines[Member] | None = None) -> None:
        self.late = asyncio.Event()
        self._deadlines = deadlines

    def too_late(self) -> None:
        self.late.set()
        if self._deadlines is not None:
            self._deadlines.add(Member())


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_whoever_does_not_finish_in_time_is_told_and_nobody_else(new_loop: NewLoop) -> None:
    async def work() -> None:
        deadlines: Deadlines[Member] = Deadlines(0.02)
        slow, quick = Member(), Member()
        deadlines.add(slow)
        deadlines.add(quick)
        deadlines.discard(quick)
        deadlines.discard(quick)
        assert len(deadlines) == 1
        assert repr(deadlines) == "<Deadlines seconds=0.02 members=1>"
        await asyncio.wait_for(slow.late.wait(), 10)
        assert not quick.late.is_set()
        assert len(deadlines) == 0
        deadlines.close()

    assert run_under(new_loop, work()).contexts == []


async def test_later_members_have_their_own_time() -> None:
    deadlines: Deadlines[Member] = Deadlines(0.05)
    first, second = Member(), Member()
    deadlines.add(first)
    await asyncio.sleep(0.03)
    deadlines.add(second)
    await asyncio.wait_for(first.late.wait(), 10)
    assert not second.late.is_set()
    await asyncio.wait_for(second.late.wait(), 10)


async def test_a_member_may_bring_another_when_it_is_told() -> None:
    deadlines: Deadlines[Member] = Deadlines(0.01)
    member = Member(deadlines)
    deadlines.add(member)
    await asyncio.wait_for(member.late.wait(), 10)
    assert len(deadlines) == 1
    deadlines.close()


async def test_after_the_end_nobody_is_told_of_anything() -> None:
    deadlines: Deadlines[Member] = Deadlines(0.01)
    member = Member()
    deadlines.add(member)
    deadlines.close()
    deadlines.close()
    await asyncio.sleep(0.03)
    assert not member.late.is_set()
