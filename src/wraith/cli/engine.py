"""`wraith engine`: what the Node package starts as its child; of no use to a person."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NoReturn

import rich_click as click


@click.command(hidden=True)
@click.option("--fd", type=int, required=True, metavar="N", help="The control channel, a socket.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the other program listens.",
)
def engine(fd: int, directory: Path) -> None:
    """Be the engine of a program in another language; ends when that program does."""
    from wraith.cli import logs, report

    logs.configure("info", "text")
    # A terminal sends these to the whole group. The other program decides what they mean, and we
    # end when it does; if nobody is left to decide, we see the channel close.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    report.run(lambda: _run(fd, directory))


async def _run(fd: int, directory: Path) -> NoReturn:
    from wraith.engine.control import run

    # All is closed and removed by then. What the interpreter would still tidy up takes longer than
    # all of that, and somebody waits for this process to be gone.
    os._exit(await run(fd, directory))
