"""Tasks with an owner."""

from __future__ import annotations

import asyncio
import logging

import pytest

from wraith.streams.tasks import TaskSet


async def test_closing_the_owner_cancels_what_runs_and_waits_for_it() -> None:
    tasks = TaskSet("owner")
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    task = tasks.spawn(work(), "work")
    assert task.get_name() == "owner: work"
    await asyncio.sleep(0)
    assert len(tasks) == 1
    await tasks.close()
    assert cleaned == [True]
    assert len(tasks) == 0
    await tasks.close()


async def test_a_failure_is_reported_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("secret.example")

    tasks = TaskSet("owner")
    with caplog.at_level(logging.DEBUG):
        await asyncio.wait([tasks.spawn(fails(), "work")])
        await asyncio.sleep(0)
    assert "owner: work" in caplog.text
    assert "ValueError" in caplog.text
    assert "secret.example" not in caplog.text


async def test_nothing_starts_on_a_closed_owner() -> None:
    tasks = TaskSet("owner")
    await tasks.close()
    started = []

    async def work() -> None:
        started.append(True)

    task = tasks.spawn(work(), "work")
    await asyncio.wait([task])
    assert task.cancelled()
    assert not started
    assert repr(tasks) == "<TaskSet owner running=0 closed=True>"


async def test_a_task_may_close_its_own_owner() -> None:
    tasks = TaskSet("owner")

    async def work() -> str:
        await tasks.close()
        return "done"

    assert await tasks.spawn(work(), "work") == "done"
