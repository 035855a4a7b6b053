"""`wraith worker`: what `wraith serve --workers N` starts N times; of no use to a person."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from typing import NoReturn

import rich_click as click

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@click.command(hidden=True)
@click.option("--number", type=int, required=True, metavar="N", help="Which of them it is.")
@click.option("--link", type=int, required=True, metavar="FD", help="The link to the parent.")
@click.option("--sockets", type=int, required=True, metavar="FD", help="Where connections come.")
def worker(number: int, link: int, sockets: int) -> None:
    """Be one of the processes of a server; ends when the parent does."""
    from wraith.cli import report

    # A terminal sends these to the whole group; the parent decides what they mean.
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    _die_with_the_parent()
    report.run(lambda: _run(number, socket.socket(fileno=link), socket.socket(fileno=sockets)))


def _die_with_the_parent() -> None:
    """The link's end says it as well, but not to a worker that is stuck (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _run(number: int, link: socket.socket, sockets: socket.socket) -> NoReturn:
    from wraith.cli import logs
    from wraith.server.workers.worker import Worker

    for sock in (link, sockets):
        sock.set_inheritable(False)
    # All is closed by then; what the interpreter would still tidy up takes longer than that.
    os._exit(await Worker(number, logs.configure).run(link, sockets))
