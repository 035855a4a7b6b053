"""Connecting without a task, where the address is known and the answer comes at once or soon.

On this machine, and often in this network, a connection is made before anything else could be done.
A name, or several addresses, take the ordinary way.
"""

from __future__ import annotations

import asyncio
import errno
import socket

from wraith.dialing.base import Outcome
from wraith.dialing.happy_eyeballs import SockAddr
from wraith.dialing.reasons import refusal_for
from wraith.errors import ChannelRefused, Refusal
from wraith.streams.hub import WRITE, running_hub

_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY)
"""Not EAGAIN: from a Unix socket it says that the backlog is full, and nothing is under way."""


class SocketAttempt:
    """One attempt at one address, watched by the hub; made by `begin`."""

    __slots__ = ("_hub", "_outcome", "_sock", "_timer")

    def __init__(self, sock: socket.socket, outcome: Outcome, timeout: float) -> None:
        self._sock: socket.socket | None = sock
        self._outcome = outcome
        self._hub = running_hub()
        self._hub.add(sock.fileno(), self._ready, WRITE)
        self._timer = asyncio.get_running_loop().call_later(timeout, self._too_late)

    def _take(self) -> socket.socket | None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self._timer.cancel()
            self._hub.remove(sock.fileno())
        return sock

    def _ready(self, _events: int) -> None:
        sock = self._take()
        if sock is None:
            return
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            sock.close()
            self._outcome.failed(refusal_for(OSError(error, "")))
        else:
            self._outcome.connected(sock)

    def _too_late(self) -> None:
        sock = self._take()
        if sock is not None:
            sock.close()
            self._outcome.failed(Refusal.TIMED_OUT)

    def cancel(self) -> None:
        """As `Attempt.cancel`."""
        sock = self._take()
        if sock is not None:
            sock.close()


def begin(
    family: socket.AddressFamily, address: SockAddr, outcome: Outcome, timeout: float
) -> SocketAttempt | None:
    """Connect to one address; None when the outcome has been told already.

    `timeout` is in seconds. Raises `NotImplementedError` on a loop that cannot watch descriptors.
    """
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        outcome.failed(refusal_for(error))
        return None
    try:
        sock.setblocking(False)
        if family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(address)
        if code in _UNDER_WAY:
            code = sock.connect_ex(address)  # on this machine it is often done by now
        if code in _UNDER_WAY:
            return SocketAttempt(sock, outcome, timeout)
    except OSError as error:
        sock.close()
        outcome.failed(refusal_for(error))
        return None
    if code in (0, errno.EISCONN):
        outcome.connected(sock)
    else:
        sock.close()
        outcome.failed(refusal_for(OSError(code, "")))
    return None


class TaskAttempt:
    """A connection that a task makes the ordinary way."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[socket.socket], outcome: Outcome) -> None:
        self._task = task

        def ended(task: asyncio.Task[socket.socket]) -> None:
            if task.cancelled():
                return
            error = task.exception()
            if error is None:
                outcome.connected(task.result())
            elif isinstance(error, ChannelRefused):
                outcome.failed(error.reason)
            else:
                outcome.failed(Refusal.FAILED)

        task.add_done_callback(ended)

    def cancel(self) -> None:
        """As `Attempt.cancel`."""
        if self._task.done() and not self._task.cancelled() and self._task.exception() is None:
            return  # its callback is on its way, and finds nobody: see `Outcome.connected`
        self._task.cancel()
