"""The event loops that the package must work under, and a way to run a test under each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from wraith.streams.hub import InlineLoop

NewLoop = Callable[[], asyncio.AbstractEventLoop]

LOOPS: dict[str, NewLoop] = {
    "inline": InlineLoop,
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


class Complaints:
    """What a loop would have said about exceptions that nobody caught."""

    def __init__(self) -> None:
        self.contexts: list[dict[str, Any]] = []

    def __call__(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.contexts.append(context)


def run_under(new_loop: NewLoop, work: Coroutine[Any, Any, None]) -> Complaints:
    """Run to the end under a loop of this kind; no task may be left, nor a descriptor watched."""
    complaints = Complaints()

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(complaints)
        before = asyncio.all_tasks()
        await work
        async with asyncio.timeout(5):
            while asyncio.all_tasks() - before:
                await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(watched())
    return complaints
