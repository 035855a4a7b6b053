"""One worker as its parent sees it: a process, the link to it, and the way to give it sockets.

It is a new program and no copy of the parent: a copy would inherit a loop, threads and their locks
in whatever state they are, and every worker would have the parent's memory layout, which a stranger
could then learn from one crash after the other (OpenSSH starts anew for the same reason).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from wraith.protocol.worker_link import Message
from wraith.server.workers.link import Link
from wraith.server.workers.sockets import Giving, socket_pair
from wraith.streams.socket_stream import open_socket_stream

LAST_MOMENTS = 2.0
"""Seconds for a process that has closed its link to be gone."""

NOT_FOR_THEM = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC")
"""What the service manager says to the parent alone."""


class WorkerProcess:
    """Made by `launch`. `number` counts from 1 and is kept by the one that takes its place."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.leaving = False
        """Whether it was asked to end, or said that it will."""
        self.heard = asyncio.get_running_loop().time()
        """When it last said anything."""
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once it takes connections; fails with what kept it from starting."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.link: Link
        self.giving: Giving
        self._process: subprocess.Popen[bytes]

    def __repr__(self) -> str:
        state = "gone" if self.gone.done() else "leaving" if self.leaving else "there"
        return f"<WorkerProcess {self.number} pid={self.pid} {state}>"

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    async def launch(
        self,
        hear: Callable[[Message], None],
        drained: Callable[[int], None],
        not_given: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Start it. Raises `OSError` where the system has no process or descriptor for it."""
        near, far = socket.socketpair()
        giving, taking = socket_pair()
        near.setblocking(False)
        self.link = Link(hear, self._lost, drained)
        self.giving = Giving(giving, not_given)
        await open_socket_stream(near, self.link)
        try:
            self._spawn(far.fileno(), taking.fileno())
        except BaseException:
            self.link.abort()
            self.giving.close()
            raise
        finally:
            far.close()
            taking.close()

    def _spawn(self, link: int, sockets: int) -> None:
        # -P: what lies in the current folder is nothing to import from.
        command = [sys.executable, "-P", "-m", "wraith", "worker", "--number", str(self.number)]
        self._process = subprocess.Popen(  # noqa: S603 - ourselves, with numbers for arguments
            [*command, "--link", str(link), "--sockets", str(sockets)],
            pass_fds=(link, sockets),
            stdin=subprocess.DEVNULL,
            env={name: text for name, text in os.environ.items() if name not in NOT_FOR_THEM},
        )

    def _lost(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    async def reap(self) -> str:
        """Wait until the process of a worker that is gone has ended; how it did, in a word."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LAST_MOMENTS
        self.giving.close()
        self.link.abort()
        while (code := self._process.poll()) is None:
            if loop.time() > deadline:
                self._process.kill()
            await asyncio.sleep(0.01)
        return signal.Signals(-code).name if code < 0 else str(code)
