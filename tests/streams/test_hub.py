"""One suite for both hubs: the selector that serves inline, and the one on top of any loop."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import selectors
import socket
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.loops import LOOPS, NewLoop, run_under
from tests.support.sockets import tcp_pair
from wraith.streams.hub import (
    BUFFER_SIZE,
    READ,
    SMALL_BUFFER_SIZE,
    SPARE_BUFFERS,
    WRITE,
    Hub,
    InlineLoop,
    InlineSelector,
    LoopHub,
    borrow,
    borrow_for_output,
    give_back,
    new_event_loop,
    running_hub,
)

Behaviour = Callable[[Hub, socket.socket, socket.socket], Awaitable[None]]


class Calls:
    """A callback that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[int] = []
        self._called = asyncio.Event()

    def __call__(self, events: int) -> None:
        self.events.append(events)
        self._called.set()

    async def one_more(self) -> int:
        self._called.clear()
        await asyncio.wait_for(self._called.wait(), 10)
        return self.events[-1]


async def turns(count: int = 5) -> None:
    """Let the loop poll a few times."""
    for _ in range(count):
        await asyncio.sleep(0.001)


async def it_calls_back_when_something_can_be_read(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    calls = Calls()
    hub.add(near.fileno(), calls, READ)
    await turns()
    assert calls.events == []
    far.sendall(b"x")
    assert await calls.one_more() & READ


async def it_calls_back_as_long_as_nobody_reads(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    calls = Calls()
    hub.add(near.fileno(), calls, READ)
    far.sendall(b"x")
    for _ in range(3):
        await calls.one_more()
    near.recv(10)
    await turns()
    heard = len(calls.events)
    await turns()
    assert len(calls.events) == heard


async def it_calls_back_when_something_can_be_written(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    calls = Calls()
    hub.add(near.fileno(), calls, WRITE)
    assert await calls.one_more() & WRITE


async def it_waits_for_what_was_asked_last(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    calls = Calls()
    hub.add(near.fileno(), calls, READ)
    hub.expect(near.fileno(), READ | WRITE)
    assert await calls.one_more() & WRITE
    hub.expect(near.fileno(), READ)
    await turns()
    heard = len(calls.events)
    await turns()
    assert len(calls.events) == heard
    far.sendall(b"x")
    assert await calls.one_more() & READ


async def it_forgets_what_is_removed_and_takes_it_back(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    calls = Calls()
    hub.add(near.fileno(), calls, READ)
    hub.remove(near.fileno())
    hub.remove(near.fileno())
    far.sendall(b"x")
    await turns()
    assert calls.events == []
    hub.add(near.fileno(), calls, READ)
    assert await calls.one_more() & READ


async def it_calls_somebody_else_once_it_is_told_to(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    first, second = Calls(), Calls()
    hub.add(near.fileno(), first, READ)
    hub.redirect(near.fileno(), second)
    far.sendall(b"x")
    assert await second.one_more() & READ
    assert first.events == []


async def it_says_nothing_of_what_is_not_watched_not_even_a_hang_up(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    calls = Calls()
    hub.add(near.fileno(), calls, READ)
    hub.remove(near.fileno())
    far.close()
    await turns()
    assert calls.events == []


async def it_flushes_each_of_those_who_asked_once(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    flushed: list[str] = []

    class Output:
        def __init__(self, name: str, follower: Output | None = None) -> None:
            self._name = name
            self._follower = follower

        def flush(self) -> None:
            flushed.append(self._name)
            if self._follower is not None:
                hub.dirty.append(self._follower)

    hub.dirty.append(Output("first", Output("made by a flush")))
    hub.dirty.append(Output("second"))
    await turns(1)
    assert sorted(flushed) == ["first", "made by a flush", "second"]
    assert hub.dirty == []


async def it_flushes_what_a_callback_wrote_before_it_sleeps(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    flushed = asyncio.Event()

    class Output:
        def flush(self) -> None:
            flushed.set()

    def write(_events: int) -> None:
        near.recv(10)
        hub.dirty.append(Output())

    hub.add(near.fileno(), write, READ)
    far.sendall(b"x")
    await asyncio.wait_for(flushed.wait(), 10)


async def it_lends_buffers_and_keeps_a_few(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    lent = [borrow(hub) for _ in range(SPARE_BUFFERS + 3)]
    assert len({id(buffer) for buffer in lent}) == len(lent)
    assert {len(buffer) for buffer in lent} == {BUFFER_SIZE}
    for buffer in lent:
        give_back(hub, buffer)
    give_back(hub, memoryview(bytearray(10)))
    assert len(hub.spare) == SPARE_BUFFERS
    assert borrow(hub) in lent


async def it_lends_small_buffers_where_many_have_output_in_one_turn(
    hub: Hub, near: socket.socket, far: socket.socket
) -> None:
    class Writer:
        def flush(self) -> None:
            pass

    lent = []
    for _ in range(SPARE_BUFFERS + 3):
        lent.append(borrow_for_output(hub, 100))
        hub.dirty.append(Writer())
    large, small = [BUFFER_SIZE] * SPARE_BUFFERS, [SMALL_BUFFER_SIZE] * 3
    assert [len(buffer) for buffer in lent] == large + small
    assert len(borrow_for_output(hub, SMALL_BUFFER_SIZE + 1)) == BUFFER_SIZE
    for buffer in lent:
        give_back(hub, buffer)
    assert len(hub.spare) == SPARE_BUFFERS
    assert len(borrow_for_output(hub, 100)) == BUFFER_SIZE, "there are spare ones again"
    await turns()


BEHAVIOURS: list[Behaviour] = [
    it_lends_small_buffers_where_many_have_output_in_one_turn,
    it_calls_back_when_something_can_be_read,
    it_calls_back_as_long_as_nobody_reads,
    it_calls_back_when_something_can_be_written,
    it_waits_for_what_was_asked_last,
    it_forgets_what_is_removed_and_takes_it_back,
    it_calls_somebody_else_once_it_is_told_to,
    it_says_nothing_of_what_is_not_watched_not_even_a_hang_up,
    it_flushes_each_of_those_who_asked_once,
    it_flushes_what_a_callback_wrote_before_it_sleeps,
    it_lends_buffers_and_keeps_a_few,
]


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_every_hub_behaves_alike(behaviour: Behaviour, new_loop: NewLoop) -> None:
    async def work() -> None:
        hub = running_hub()
        assert isinstance(hub, InlineSelector if new_loop is InlineLoop else LoopHub)
        with tcp_pair() as (near, far):
            await behaviour(hub, near, far)
            hub.remove(near.fileno())

    assert run_under(new_loop, work()).contexts == []


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_a_callback_that_raises_is_reported_and_stops_no_other(new_loop: NewLoop) -> None:
    async def work() -> None:
        hub, calls = running_hub(), Calls()

        def faulty(_events: int) -> None:
            raise ZeroDivisionError

        with tcp_pair() as (near, far), tcp_pair() as (other, other_far):
            hub.add(near.fileno(), faulty, READ)
            hub.add(other.fileno(), calls, READ)
            far.sendall(b"x")
            other_far.sendall(b"x")
            await calls.one_more()
            await turns()
            hub.remove(other.fileno())
            hub.remove(near.fileno())

    contexts = run_under(new_loop, work()).contexts
    assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_a_flush_that_raises_is_reported_and_the_others_are_flushed(new_loop: NewLoop) -> None:
    flushed: list[int] = []

    class Faulty:
        def flush(self) -> None:
            raise ZeroDivisionError

    class Fine:
        def flush(self) -> None:
            flushed.append(1)

    async def work() -> None:
        hub = running_hub()
        for output in (Fine(), Faulty(), Fine()):
            hub.dirty.append(output)
        await turns(2)

    contexts = run_under(new_loop, work()).contexts
    assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]
    assert flushed == [1, 1]


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_a_loop_has_one_hub_and_takes_it_along_when_it_goes(new_loop: NewLoop) -> None:
    hubs: list[weakref.ref[Any]] = []

    async def work() -> None:
        assert running_hub() is running_hub()
        running_hub().dirty.append(Nothing())
        hubs.append(weakref.ref(running_hub()))

    class Nothing:
        def flush(self) -> None: ...

    run_under(new_loop, work())
    gc.collect()
    assert hubs[0]() is None


# What only the inline selector does


def test_the_inline_loop_is_the_choice_where_there_is_epoll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = new_event_loop()
    loop.close()
    assert isinstance(loop, InlineLoop)
    monkeypatch.delattr(select, "epoll")
    loop = new_event_loop()
    loop.close()
    assert not isinstance(loop, InlineLoop)


def test_a_report_about_a_closed_descriptor_does_not_reach_the_next_owner_of_its_number() -> None:
    """One poll reports two; the first callback closes the second, whose number is used anew."""
    selector = InlineSelector()
    heard: list[int] = []
    replaced: list[int] = []
    with tcp_pair() as (one, one_far), tcp_pair() as (two, two_far), tcp_pair() as (idle, _):

        def replace(me: socket.socket, victim: socket.socket) -> None:
            me.recv(10)
            if not replaced:
                replaced.append(victim.fileno())
                selector.remove(victim.fileno())
                os.dup2(idle.fileno(), victim.fileno())
                selector.add(victim.fileno(), heard.append, READ)

        selector.add(one.fileno(), lambda _events: replace(one, two), READ)
        selector.add(two.fileno(), lambda _events: replace(two, one), READ)
        one_far.sendall(b"x")
        two_far.sendall(b"x")
        selector.select(0)
        assert len(replaced) == 1
        assert heard == [], "that was about somebody else"
        selector.close()


def test_it_is_a_selector_like_any_other() -> None:
    selector = InlineSelector()
    with tcp_pair() as (near, far):
        key = selector.register(near, selectors.EVENT_READ, "data")
        assert selector.get_key(near) is key
        assert dict(selector.get_map()) == {near.fileno(): key}
        with pytest.raises(KeyError):
            selector.register(near, selectors.EVENT_READ)
        assert selector.select(0) == []
        far.sendall(b"x")
        assert selector.select(1) == [(key, selectors.EVENT_READ)]
        both = selector.modify(near, selectors.EVENT_READ | selectors.EVENT_WRITE, "more")
        assert selector.modify(near, both.events, "most").data == "most"
        ((_, events),) = selector.select(1)
        assert events == selectors.EVENT_READ | selectors.EVENT_WRITE
        far.close()
        selector.modify(near, selectors.EVENT_READ, None)
        assert selector.select(1)[0][1] == selectors.EVENT_READ
        assert selector.unregister(near).fd == near.fileno()
        assert selector.select(0) == []
    selector.close()


def test_it_goes_back_to_the_loop_in_time() -> None:
    """A descriptor that is always ready must not hold up a timer."""
    selector = InlineSelector()
    with tcp_pair() as (near, _far):
        selector.add(near.fileno(), lambda _events: None, WRITE)
        assert selector.select(0.02) == []
        selector.remove(near.fileno())
    selector.close()


def test_a_flush_that_gives_the_loop_work_does_not_leave_it_asleep() -> None:
    """What is flushed may go to a stream of the loop's own, or end a connection."""

    async def work() -> None:
        done = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(20, lambda: None)

        class Output:
            def flush(self) -> None:
                asyncio.get_running_loop().call_soon(done.set)

        began = time.monotonic()
        running_hub().dirty.append(Output())
        await done.wait()  # with nothing else that would wake the loop
        assert time.monotonic() - began < 10
        timer.cancel()

    run_under(InlineLoop, work())


def test_timers_and_threads_are_served_while_a_hot_descriptor_never_rests() -> None:
    async def work() -> None:
        with tcp_pair() as (near, _far):
            running_hub().add(near.fileno(), lambda _events: None, WRITE)
            async with asyncio.timeout(10):
                await asyncio.sleep(0.01)
                await asyncio.to_thread(lambda: None)
                await asyncio.get_running_loop().create_task(asyncio.sleep(0))
            running_hub().remove(near.fileno())

    assert run_under(InlineLoop, work()).contexts == []
