"""Challenges of an authority, which may come to any worker."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.workers.test_desk import a_worker
from wraith.server.workers import challenges as challenges_module
from wraith.server.workers.challenges import Challenges, acme_certificate
from wraith.server.workers.process import WorkerProcess
from wraith.testing import MemoryAcceptor

TOLD = ("challenged", {"number": 0, "identifier": "gw.test", "key_authorization": "k"})


async def test_all_know_it_before_the_authority_is_told_to_look() -> None:
    workers: dict[int, WorkerProcess] = {number: a_worker(number) for number in (1, 2)}
    challenges = Challenges(workers)
    showing = asyncio.ensure_future(challenges.challenged("gw.test", "k"))
    await asyncio.sleep(0)
    assert all(worker.link.said == [TOLD] for worker in workers.values())  # type: ignore[attr-defined]
    challenges.shown(workers[1], {"number": 0})
    challenges.shown(workers[1], {"number": 7})
    await asyncio.sleep(0.01)
    assert not showing.done()
    challenges.shown(workers[2], {"number": 0})
    await asyncio.wait_for(showing, 5)
    challenges.settled()
    challenges.obtained()
    assert [op for op, _ in workers[1].link.said] == ["challenged", "settled", "obtained"]  # type: ignore[attr-defined]
    assert repr(challenges) == "<Challenges pending=0>"


async def test_one_that_has_gone_is_not_waited_for_and_the_next_is_told() -> None:
    workers: dict[int, WorkerProcess] = {number: a_worker(number) for number in (1, 2)}
    challenges = Challenges(workers)
    showing = asyncio.ensure_future(challenges.challenged("gw.test", "k"))
    await asyncio.sleep(0)
    challenges.shown(workers[1], {"number": 0})
    challenges.went(workers.pop(2))
    await asyncio.wait_for(showing, 5)
    newcomer = a_worker(2)
    challenges.came(newcomer)
    assert newcomer.link.said == [TOLD]


async def test_one_that_does_not_answer_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(challenges_module, "PATIENCE", 0.05)
    challenges = Challenges({1: a_worker(1)})
    await asyncio.wait_for(challenges.challenged("gw.test", "k"), 5)


def test_only_one_by_acme_is_found() -> None:
    assert acme_certificate([MemoryAcceptor()]) is None
