"""How a command ends: an error as a sentence and a next step, a signal as a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import rich_click as click

from wraith.errors import WraithError
from wraith.streams.hub import new_event_loop
from wraith.streams.log_line import log_event

_log = logging.getLogger("wraith")


def fail(error: WraithError) -> NoReturn:
    """Say what went wrong and what to do next, and exit with the error's code."""
    click.echo(f"wraith: {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
    sys.exit(error.exit_code)


def run(work: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Run a command to its end and exit.

    Any other error than a `WraithError` is a defect of ours: it is named, and shown whole only if
    `WRAITH_TRACEBACK` is set, since its text may hold a destination.
    """
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            sys.exit(runner.run(_guarded(work)))
    except WraithError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(1)
    except Exception as error:  # the last resort of a program
        if os.environ.get("WRAITH_TRACEBACK"):
            traceback.print_exc()
        click.echo(
            f"wraith: internal error ({type(error).__name__}); please report it, "
            "WRAITH_TRACEBACK=1 shows where",
            err=True,
        )
        sys.exit(1)


async def _guarded(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    asyncio.get_running_loop().set_exception_handler(loop_exception)
    return await work()


def loop_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody caught by its kind only: the rest may hold a destination."""
    error = context.get("exception")
    if isinstance(error, OSError) and "accept" in str(context.get("message", "")):
        log_event(_log, logging.ERROR, "accepting paused", reason=error.strerror or "no resources")
        return
    kind = type(error).__name__ if error is not None else "unknown"
    log_event(_log, logging.ERROR, "internal error", kind=kind)


class Stop:
    """SIGINT and SIGTERM as something to wait for; a second one ends the program at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the first signal."""
        await self._event.wait()

    def _signalled(self) -> None:
        if self._event.is_set():
            os._exit(1)
        self._event.set()

    def install(self, on_hangup: Callable[[], None] | None = None) -> None:
        """Begin to listen for signals."""
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGINT: self._signalled, signal.SIGTERM: self._signalled}
        if on_hangup is not None and hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = on_hangup
        for number, handler in handlers.items():
            try:
                loop.add_signal_handler(number, handler)
            except NotImplementedError:  # Windows: there Ctrl-C raises KeyboardInterrupt
                signal.signal(number, _from_a_signal(loop, handler))


def _from_a_signal(
    loop: asyncio.AbstractEventLoop, handler: Callable[[], None]
) -> Callable[[int, object], None]:
    def call(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(handler)

    return call


def ready(descriptor: int | None, event: dict[str, object]) -> None:
    """Write the machine form of "ready" to a descriptor, if one was given."""
    if descriptor is None:
        return
    line = json.dumps({"event": "ready", **event}) + "\n"
    with contextlib.suppress(OSError):  # whoever wanted to know has gone
        os.write(descriptor, line.encode())
