"""Hot file descriptors, served without a detour.

An event loop pays for generality: each event becomes a handle, goes through a queue and is called
in a later step. For the descriptors that carry a tunnel's bytes that detour costs more than the
work itself. A hub calls them back directly, and flushes what they have written once a turn.

`InlineLoop` is an ordinary asyncio selector loop whose selector is also a hub: it serves the hot
descriptors inside `select` and returns to asyncio only when asyncio has something to do. Under any
other loop `LoopHub` does the same through `add_reader` and `add_writer`, a little slower.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
import time
import weakref
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Protocol, TypeVarTuple

_Ts = TypeVarTuple("_Ts")

READ = 1  # the values of EPOLLIN and EPOLLOUT
WRITE = 4
TROUBLE = 8 | 16  # EPOLLERR and EPOLLHUP, which come unasked

SCRATCH_SIZE = 260 * 1024

BUFFER_SIZE = 544 * 1024
"""Room for two of the largest packets and what goes with them."""

SMALL_BUFFER_SIZE = 4 * 1024

SPARE_BUFFERS = 8
"""Buffers kept for the next user; more than these are given back to the system."""

Callback = Callable[[int], None]
"""Called with the events that are ready; must not raise."""


class Flushable(Protocol):
    """Something that has collected output in this turn."""

    def flush(self) -> None:
        """Send it."""
        ...


class Hub(Protocol):
    """What a hub offers; the descriptors in it are watched by it alone."""

    dirty: list[Flushable]
    """Who wants to be flushed before the loop sleeps; use `append`, once a turn each."""

    scratch: memoryview
    """A buffer for whoever is being called back, until it returns: received bytes go here."""

    spare: list[memoryview]
    """Buffers of `BUFFER_SIZE` that nobody uses now; see `borrow`."""

    def add(self, fd: int, callback: Callback, events: int) -> None:
        """Watch a descriptor."""
        ...

    def expect(self, fd: int, events: int) -> None:
        """Watch it for other events from now on."""
        ...

    def redirect(self, fd: int, callback: Callback) -> None:
        """Call somebody else back for a descriptor that is watched."""
        ...

    def remove(self, fd: int) -> None:
        """Watch it no more, not even for trouble; nothing happens if it is not watched."""
        ...


def watch(hub: Hub, fd: int, callback: Callback, before: int, events: int) -> int:
    """Have a descriptor watched for `events` instead of those `before`; returns `events`.

    One without any stays out of the hub: it would report hang-ups for ever.
    """
    if events == before:
        return events
    if not events:
        hub.remove(fd)
    elif not before:
        hub.add(fd, callback, events)
    else:
        hub.expect(fd, events)
    return events


def borrow(hub: Hub) -> memoryview:
    """A buffer of `BUFFER_SIZE`, to be given back by `give_back`.

    A connection holds one only while there is something in it, so that ten thousand idle
    connections need no more buffers than one.
    """
    return hub.spare.pop() if hub.spare else memoryview(bytearray(BUFFER_SIZE))


def borrow_for_output(hub: Hub, size: int) -> memoryview:
    """A buffer that has room for `size` bytes, for one who is not yet `dirty`; as `borrow`.

    Where more of them have output in one turn than there are spare buffers, the others get a small
    one: to make a large one takes longer than to seal and send what goes into it.
    """
    if hub.spare or len(hub.dirty) < SPARE_BUFFERS or size > SMALL_BUFFER_SIZE:
        return borrow(hub)
    return memoryview(bytearray(SMALL_BUFFER_SIZE))


def give_back(hub: Hub, buffer: memoryview) -> None:
    """Return a buffer; one of another size is left to the garbage collector."""
    if len(buffer) == BUFFER_SIZE and len(hub.spare) < SPARE_BUFFERS:
        hub.spare.append(buffer)


class InlineSelector(selectors.BaseSelector):
    """A selector for asyncio and a hub for us, on one epoll."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._hot: dict[int, Callback] = {}
        self._fresh: set[int] = set()
        """Descriptors added since the last poll: what it reported may be about their numbers'
        former owners. Nothing is lost by waiting, since epoll reports what stays ready."""
        self.dirty: list[Flushable] = []
        self.scratch = memoryview(bytearray(SCRATCH_SIZE))
        self.spare: list[memoryview] = []
        self.asyncio_has_work = False
        self.on_fault: Callable[[BaseException], None] = lambda _error: None

    # The hub

    def add(self, fd: int, callback: Callback, events: int) -> None:
        """As `Hub.add`."""
        self._epoll.register(fd, events)
        self._hot[fd] = callback
        self._fresh.add(fd)

    def expect(self, fd: int, events: int) -> None:
        """As `Hub.expect`."""
        self._epoll.modify(fd, events)

    def redirect(self, fd: int, callback: Callback) -> None:
        """As `Hub.redirect`."""
        self._hot[fd] = callback

    def remove(self, fd: int) -> None:
        """As `Hub.remove`."""
        if self._hot.pop(fd, None) is not None:
            try:  # noqa: SIM105 - called for every connection, and this is the cheaper way
                self._epoll.unregister(fd)
            except OSError:
                pass  # closed, and with that forgotten by the kernel

    def flush(self) -> None:
        """Flush whoever wants it."""
        dirty = self.dirty
        while dirty:
            try:
                dirty.pop().flush()
            except Exception as error:
                self.on_fault(error)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve hot descriptors until asyncio has something to do, at most `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + max(0.0, timeout)
        wait = -1.0 if timeout is None else max(0.0, timeout)
        self.asyncio_has_work = False
        ready: list[tuple[selectors.SelectorKey, int]] = []
        poll, hot, keys, fresh = self._epoll.poll, self._hot, self._keys, self._fresh
        if self.dirty:  # what asyncio's own callbacks have written
            self.flush()
            if self.asyncio_has_work:
                wait = 0.0
        while True:
            fresh.clear()
            events = poll(wait, 512)
            for fd, mask in events:
                callback = hot.get(fd)
                if callback is not None:
                    if fd in fresh:
                        continue
                    try:
                        callback(mask)
                    except Exception as error:
                        self._fault(fd, error)
                elif fd in keys:
                    ready.append((keys[fd], _selector_events(mask) & keys[fd].events))
            if self.dirty:
                self.flush()
            if ready or self.asyncio_has_work or not events:
                return ready
            if deadline is not None:
                wait = deadline - time.monotonic()
                if wait <= 0:
                    return ready

    def _fault(self, fd: int, error: BaseException) -> None:
        """A callback raised, which it must not: stop serving that descriptor, and say so."""
        self.remove(fd)
        self.on_fault(error)

    # The selector, as asyncio uses it

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As `BaseSelector.register`."""
        fd = _fd(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is already registered")
        self._epoll.register(fd, _epoll_events(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As `BaseSelector.unregister`."""
        key = self._keys.pop(_fd(fileobj))
        with contextlib.suppress(OSError):
            self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As `BaseSelector.modify`."""
        fd = _fd(fileobj)
        key = self._keys[fd]
        if events != key.events:
            self._epoll.modify(fd, _epoll_events(events))
        key = self._keys[fd] = key._replace(events=events, data=data)
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """As `BaseSelector.get_key`."""
        return self._keys[_fd(fileobj)]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As `BaseSelector.get_map`."""
        return self._keys

    def close(self) -> None:
        """As `BaseSelector.close`."""
        self._epoll.close()
        self._keys.clear()
        self._hot.clear()


def _fd(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _epoll_events(events: int) -> int:
    readable = READ if events & selectors.EVENT_READ else 0
    return readable | (WRITE if events & selectors.EVENT_WRITE else 0)


def _selector_events(mask: int) -> int:
    """Trouble counts as both, so that whoever waits finds out by trying."""
    readable = selectors.EVENT_READ if mask & ~WRITE else 0
    return readable | (selectors.EVENT_WRITE if mask & ~READ else 0)


def _report(loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
    context = {"message": "a hot descriptor's callback failed", "exception": error}
    loop.call_exception_handler(context)


class InlineLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on an `InlineSelector`; Linux only, since it needs epoll."""

    def __init__(self) -> None:
        self.hub = InlineSelector()
        super().__init__(self.hub)
        self.hub.on_fault = self._fault

    def _fault(self, error: BaseException) -> None:
        _report(self, error)

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's; it also brings the selector back to the loop."""
        self.hub.asyncio_has_work = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's; the selector must learn of the new deadline."""
        self.hub.asyncio_has_work = True
        return super().call_at(when, callback, *args, context=context)


class LoopHub:
    """A hub on top of any loop that has `add_reader`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The table of hubs holds a loop weakly, so its hub must, too.
        self._loop: asyncio.AbstractEventLoop = weakref.proxy(loop)
        self._hot: dict[int, Callback] = {}
        self._events: dict[int, int] = {}
        self.dirty: list[Flushable] = _FlushSoon(self._loop)
        self.scratch = memoryview(bytearray(SCRATCH_SIZE))
        self.spare: list[memoryview] = []

    def add(self, fd: int, callback: Callback, events: int) -> None:
        """As `Hub.add`."""
        self._hot[fd] = callback
        self._events[fd] = 0
        self.expect(fd, events)

    def expect(self, fd: int, events: int) -> None:
        """As `Hub.expect`."""
        changed, self._events[fd] = self._events[fd] ^ events, events
        if changed & READ:
            if events & READ:
                self._loop.add_reader(fd, self._ready, fd, READ)
            else:
                self._loop.remove_reader(fd)
        if changed & WRITE:
            if events & WRITE:
                self._loop.add_writer(fd, self._ready, fd, WRITE)
            else:
                self._loop.remove_writer(fd)

    def _ready(self, fd: int, events: int) -> None:
        callback = self._hot.get(fd)
        if callback is None:
            return
        try:
            callback(events)
        except Exception as error:
            self.remove(fd)
            _report(self._loop, error)

    def redirect(self, fd: int, callback: Callback) -> None:
        """As `Hub.redirect`."""
        self._hot[fd] = callback

    def remove(self, fd: int) -> None:
        """As `Hub.remove`."""
        if self._hot.pop(fd, None) is not None:
            self.expect(fd, 0)
            del self._events[fd]


class _FlushSoon(list[Flushable]):
    """The dirty list of a loop that does not flush by itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._scheduled = False

    def append(self, item: Flushable) -> None:
        super().append(item)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        while self:
            try:
                self.pop().flush()
            except Exception as error:
                _report(self._loop, error)


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def running_hub() -> Hub:
    """The hub of the running loop."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, InlineLoop):
        return loop.hub
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = LoopHub(loop)
    return hub


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The fastest loop that this system has for us."""
    return InlineLoop() if hasattr(select, "epoll") else asyncio.new_event_loop()
