"""Named tasks with an owner that cancels them.

asyncio keeps only weak references to tasks, and an exception in a forgotten one surfaces at some
garbage collection. Here each task has a name and an owner; a failure is reported at once, and
closing the owner cancels what still runs and waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


class TaskSet:
    """The tasks of one owner.

    A task that fails is logged by its name and the type of its error only: the text of an exception
    may hold a destination.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<TaskSet {self._owner} running={len(self._tasks)} closed={self._closed}>"

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` as a task named `<owner>: <name>` until it ends or the owner closes.

        On a closed owner the work is not started, and the task returned is cancelled.
        """
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if self._closed:
            task.cancel()
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task failed name=%s error=%s", task.get_name(), type(error).__name__)

    async def close(self) -> None:
        """Cancel what runs and wait until all of it has ended. May be called more than once."""
        self._closed = True
        while pending := [task for task in self._tasks if task is not asyncio.current_task()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=5)
