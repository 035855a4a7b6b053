"""How a command ends: an error as a sentence and a next step, a signal as a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn

import rich_click as click

from wraith.errors import WraithError
from wraith.streams.hub import new_event_loop
from wraith.streams.log_line import log_event

_log = logging.getLogger("wraith")


def fail(error: WraithError) -> NoReturn:
    """Say what went wrong and what to do next, and exit with the error's code."""
    say(f"wraith: {error.message}")
    if error.hint:
        say(f"  {error.hint}")
    sys.exit(error.exit_code)


def misused(error: click.ClickException) -> NoReturn:
    """Say which option or value cannot be used, and where to look it up."""
    sentence = error.format_message().strip().rstrip(".")
    say(f"wraith: {sentence[:1].lower()}{sentence[1:]}")
    ctx = getattr(error, "ctx", None) or click.get_current_context(silent=True)
    say(f"  see: {ctx.command_path if ctx is not None else 'wraith'} --help")
    sys.exit(error.exit_code)


def say(text: str) -> None:
    """A line for people, on stderr. Nobody reading it is no reason to stop."""
    with contextlib.suppress(OSError):
        # By name, and not click's own: a live line may stand in for it, to keep below what is said.
        click.echo(text, file=sys.stderr)


def nobody_reads() -> NoReturn:
    """Whoever read our output has gone: end, without a word from the interpreter's own flush."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


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
    except (KeyboardInterrupt, click.Abort):
        sys.exit(1)
    except Exception as error:  # the last resort of a program
        if os.environ.get("WRAITH_TRACEBACK"):
            traceback.print_exc()
        say(
            f"wraith: internal error ({type(error).__name__}); please report it, "
            "WRAITH_TRACEBACK=1 shows where"
        )
        sys.exit(1)


async def _guarded(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    asyncio.get_running_loop().set_exception_handler(loop_exception)
    collect_less_often()
    return await work()


def collect_less_often() -> None:
    """Look for cyclic garbage seldom, and never among what was there at the start.

    Connections make many objects that live for a moment and are freed by their count; by default
    Python goes through them every 700, which is a fifteenth of what a connection costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 100)


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


@contextlib.contextmanager
def signals_end_the_program() -> Iterator[None]:
    """While a person is asked: nothing awaits meanwhile, so a signal must not wait for that."""
    usual: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
