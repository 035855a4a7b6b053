"""An event target, and what it says to the other side of its stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from tests.support.bus_world import frame, soon
from wraith.errors import (
    EventError,
    EventStreamError,
    FrameError,
    SlowConsumer,
    StreamTruncated,
    WraithError,
)
from wraith.protocol.envelope import EventEnvelope, EventReader
from wraith.pubsub import EventTarget
from wraith.streams.memory import memory_pair
from wraith.testing import Recorder


class Far:
    """The other side, which sees bytes."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.stream = recorder.stream
        self._events = EventReader()

    async def hears(self) -> EventEnvelope:
        """The next event that was sent."""
        async with asyncio.timeout(10):
            while True:
                data = bytes(self.recorder.received)
                self.recorder.received.clear()
                self._events.receive_data(data)
                event = self._events.next_event()
                if isinstance(event, EventEnvelope):
                    return event
                await asyncio.sleep(0.001)

    async def hears_nothing(self, target: EventTarget) -> None:
        target.dispatch("test.end")
        assert (await self.hears()).type == "test.end"


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[EventTarget, Far]]:
    reader, recorder = asyncio.StreamReader(), Recorder()
    protocol = asyncio.StreamReaderProtocol(reader)
    near, _ = memory_pair(protocol, recorder)
    writer = asyncio.StreamWriter(near, protocol, reader, asyncio.get_running_loop())
    async with EventTarget((reader, writer)) as target:
        yield target, Far(recorder)
    near.close()
    recorder.stream.close()
    await recorder.until_lost()


@contextmanager
def raises(kind: type[WraithError]) -> Iterator[None]:
    with pytest.raises(WraithError) as caught:
        yield
    assert type(caught.value) is kind


async def test_a_topic_is_asked_for_once_and_given_up_once() -> None:
    async with pair() as (target, far):
        target.add_listener("a:", print)
        first, second = target.subscribe("a:"), target.subscribe("a:")
        assert (await far.hears()).payload == {"topic": "a:"}
        first.close()
        second.close()
        await far.hears_nothing(target)
        target.remove_listener("a:", print)
        message = await far.hears()
        assert (message.type, message.payload) == ("__unsubscribe", {"topic": "a:"})
        target.add_listener("a:", print)
        assert (await far.hears()).type == "__subscribe"


async def test_what_is_dispatched_is_not_heard_here() -> None:
    async with pair() as (target, far):
        heard: list[EventEnvelope] = []
        target.add_listener("a:", heard.append)
        target.dispatch("a", "", 1)
        far.stream.write(frame("a", "", 2) + frame("b", "", 3) + frame("__hello"))
        far.stream.write(frame("end"))
        await soon(anext(target.subscribe("end:")))
        assert [event.payload for event in heard] == [2]


async def test_what_cannot_be_sent_sends_nothing() -> None:
    async with pair() as (target, far):
        for kind, payload in [("__subscribe", None), ("", None), ("a", 2**53), ("a", b"bytes")]:
            with raises(EventError):
                target.dispatch(kind, "", payload)
        with raises(EventError):
            target.subscribe("\ud800:")
        await far.hears_nothing(target)


async def test_too_much_that_waits_is_refused_until_there_is_room() -> None:
    async with pair() as (target, far):
        far.stream.pause_reading()
        sent = 0
        with raises(SlowConsumer):
            while sent < 100:
                target.dispatch("a", "", "x" * 100_000)
                sent += 1
                await asyncio.sleep(0)
        assert 10 < sent < 20
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(target.drain(), 0.05)
        far.stream.resume_reading()
        await soon(target.drain())
        target.dispatch("a", "", "last")
        for _ in range(sent):
            assert (await far.hears()).payload == "x" * 100_000
        assert (await far.hears()).payload == "last"


async def test_a_clean_end_ends_everything_without_an_error() -> None:
    async with pair() as (target, far):
        events = target.subscribe("a:")
        far.stream.write(frame("a", "", 1))
        far.stream.write_eof()
        await soon(target.wait_closed())
        assert [event.payload async for event in events] == [1]
        with raises(EventStreamError):
            target.dispatch("a")
        with raises(EventStreamError):
            await target.drain()
        events.close()
        target.remove_listener("a:", print)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\0", FrameError),
        (b"\xff\xff\xff\xff", FrameError),
        (b"\0", StreamTruncated),
        (b"\0\0\0\x09{", StreamTruncated),
    ],
)
async def test_an_end_that_is_not_clean_is_told_to_everybody(
    data: bytes, kind: type[WraithError]
) -> None:
    async with pair() as (target, far):
        events = target.subscribe("a:")
        far.stream.write(frame("a", "", 1) + data)
        far.stream.write_eof()
        with raises(kind):
            await soon(target.wait_closed())
        assert (await anext(events)).payload == 1
        with raises(kind):
            await anext(events)
        with raises(kind):
            target.dispatch("a")


@pytest.mark.parametrize(("data", "kind"), [(b"", EventStreamError), (b"\0", StreamTruncated)])
async def test_a_reset_is_an_error_with_its_cause(data: bytes, kind: type[WraithError]) -> None:
    async with pair() as (target, far):
        far.stream.write(data)
        await asyncio.sleep(0.01)
        far.stream.abort()
        with raises(kind):
            await soon(target.wait_closed())
        assert isinstance(target._error, EventStreamError)
        assert isinstance(target._error.__cause__, ConnectionResetError)


async def test_a_stream_that_takes_no_more_ends_the_target() -> None:
    async with pair() as (target, _):
        assert isinstance(target._stream, object)
        target._stream._writer.write_eof()  # type: ignore[union-attr]
        target.dispatch("a")
        with raises(EventStreamError):
            await soon(target.wait_closed())


async def test_malformed_bodies_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    async with pair() as (target, far):
        far.stream.write(b"\0\0\0\6secret" * 3 + frame("a"))
        await soon(anext(target.subscribe("a:")))
    assert caplog.text.count("malformed event skipped") == 1
    assert "secret" not in caplog.text


async def test_a_flood_lets_others_have_their_turn() -> None:
    async with pair() as (target, far):
        heard: list[EventEnvelope] = []
        target.add_listener("a:", heard.append)
        far.stream.write(frame("a") * 1000)
        turns = 0
        while len(heard) < 1000:
            before = len(heard)
            await asyncio.sleep(0)
            assert len(heard) - before <= 64
            turns += 1
        assert turns >= 1000 // 64


async def test_closing_waits_for_what_was_dispatched_but_not_for_ever() -> None:
    async with pair() as (target, far):
        far.stream.pause_reading()
        for _ in range(8):
            target.dispatch("a", "", "x" * 100_000)
        await target.close()
        assert target.is_closed
        assert "closed" in repr(target)
