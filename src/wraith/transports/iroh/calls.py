"""Calls into the binding that may be answered at once or later.

`Read` and `Write` begin a call. One that is answered at once returns the answer; else it returns a
`Pending`, and `done` is called later, from the event loop, with the answer or the error. The plain
way, by the binding's own methods, stands here; the fast one in `shortcuts`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol


class Pending(Protocol):
    """A call that has not been answered yet."""

    def cancel(self) -> None:
        """Give it up: `done` is not called. What it has read already is lost."""
        ...


Answered = Callable[[bytes, BaseException | None], None]
"""Takes what was read (nothing, for a write), or the error."""


class Read(Protocol):
    """Begins to read from a receiving half."""

    def __call__(self, half: Any, limit: int, done: Answered) -> bytes | Pending:
        """Read up to `limit` bytes; b"" is the end."""
        ...


class Write(Protocol):
    """Begins to write to a sending half."""

    def __call__(self, half: Any, pieces: Sequence[bytes], done: Answered) -> bytes | Pending:
        """Write all the pieces, in order."""
        ...


def read(half: Any, limit: int, done: Answered) -> bytes | Pending:
    """As `Read`, by the binding's own method."""
    return _Task(half.read(limit), done)


def write(half: Any, pieces: Sequence[bytes], done: Answered) -> bytes | Pending:
    """As `Write`, by the binding's own method, which looks at each byte."""
    return _Task(half.write_all(b"".join(pieces)), done)


class _Task:
    """A coroutine of the binding's, run as a task."""

    def __init__(self, work: Coroutine[Any, Any, bytes | None], done: Answered) -> None:
        self._done = done
        self._task = asyncio.get_running_loop().create_task(work, name="iroh: a call")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[bytes | None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        self._done(task.result() or b"" if error is None else b"", error)

    def cancel(self) -> None:
        """As `Pending.cancel`."""
        self._task.cancel()
        self._task.remove_done_callback(self._ended)
