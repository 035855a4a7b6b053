"""One epoll for everything: descriptors that are watched, and works that wait for their sockets.

A *work* is a generator that looks after one connection. It says which sockets it waits for, and
yields; then it is sent the one that is ready, or `TimeoutError` is raised in it. It may be resumed
for nothing, and looks again. asyncio does the same at more than twice the price of a connection.
"""

import math
import select
import socket
import sys
from collections.abc import Callable, Generator
from functools import partial
from time import monotonic
from typing import TypeVar

FOREVER = math.inf
IN, OUT = select.EPOLLIN, select.EPOLLOUT

T = TypeVar("T")
Work = Generator[None, socket.socket | None, T]


class Loop:
    """Everything that waits. `now` is the time at which the last wait ended, in seconds."""

    def __init__(self) -> None:
        self.now = monotonic()
        self.work: Work[None] | None = None
        """The one that is being resumed."""
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Callable[[], None]]] = {}
        self._until: dict[Work[None], float] = {}
        self._fresh: list[Work[None]] = []
        self._next_look = self.now

    def watch(self, fd: int, events: int, called: Callable[[], None]) -> None:
        """Call something as long as a descriptor is ready, in place of what was called before."""
        (self._epoll.modify if fd in self._watched else self._epoll.register)(fd, events)
        self._watched[fd] = events, called

    def wait(self, sock: socket.socket, events: int = IN) -> None:
        """Resume the present work when a socket is ready for these events; 0 for none."""
        fd = sock.fileno()
        before, _ = self._watched.get(fd, (0, None))
        if events and events != before:
            assert self.work is not None
            self.watch(fd, events, partial(self.resume, self.work, sock))
        elif before and not events:
            del self._watched[fd]
            self._epoll.unregister(fd)

    def close(self, *socks: socket.socket | None) -> None:
        """Close sockets, and wait for them no more."""
        for sock in filter(None, socks):
            self._watched.pop(sock.fileno(), None)
            sock.close()

    def allow(self, seconds: float) -> None:
        """Limit the time of the present work, from now on."""
        assert self.work is not None
        self._until[self.work] = self.now + seconds

    def start(self, work: Work[None]) -> None:
        """Begin a work, soon; its faults end it, and no other."""
        self._until[work] = FOREVER
        self._fresh.append(work)

    def resume(self, work: Work[None], ready: socket.socket | None = None) -> None:
        """Let a work go on until it waits again."""
        self._step(work, partial(work.send, ready))

    def _step(self, work: Work[None], step: Callable[[], None]) -> None:
        self.work = work
        try:
            step()
        except StopIteration:
            del self._until[work]
        except Exception as defect:
            del self._until[work]
            _report(defect)

    def turn(self) -> None:
        """Wait for something to do, and do it. Limits, and a signal that has come just before the
        wait, are looked at once a second."""
        ready = self._epoll.poll(0 if self._fresh else 1)
        self.now = monotonic()
        for fd, _ in ready:
            _, called = self._watched.get(fd, (0, None))
            try:
                if called is not None:  # else it has been closed a moment ago
                    called()
            except Exception as defect:
                _report(defect)
        fresh, self._fresh = self._fresh, []
        for work in fresh:
            self.resume(work)
        if self.now >= self._next_look:
            self._next_look = self.now + 1
            for work in [work for work, until in self._until.items() if until <= self.now]:
                self._until[work] = FOREVER
                self._step(work, partial(work.throw, TimeoutError()))


def _report(defect: Exception) -> None:
    """Say what nobody expected by its kind only: the rest may hold a destination."""
    kind = type(defect).__name__
    print(f"wraith-tun: internal error ({kind}); please report it", file=sys.stderr)
