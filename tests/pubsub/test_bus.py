"""The bus itself: turns, memory, its way to other servers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.support.bus_world import Person, frame, in_memory, payloads, soon
from wraith.errors import EventError, UsageError
from wraith.protocol.envelope import EventEnvelope, decode_copy
from wraith.pubsub import Bus, EventTarget
from wraith.pubsub import bus_channel as bus_channel_module
from wraith.pubsub.backend import BackendOwner, Gap
from wraith.pubsub.bus_channel import BusChannel
from wraith.pubsub.holdings import Holdings
from wraith.server.options import ServeOptions
from wraith.streams.memory import memory_pair
from wraith.testing import Recorder


class Elsewhere:
    """A backend that remembers what it was told."""

    def __init__(self, owner: BackendOwner) -> None:
        self.owner = owner
        self.published: list[tuple[str, bytes]] = []
        self.asked: list[str] = []
        self.closed = False

    def publish(self, topic: str, body: bytes) -> None:
        self.published.append((topic, body))

    def subscribe(self, topic: str) -> None:
        self.asked.append(f"+{topic}")

    def unsubscribe(self, topic: str) -> None:
        self.asked.append(f"-{topic}")

    async def close(self) -> None:
        self.closed = True


def backend_of(bus: Bus) -> Elsewhere:
    backend = bus._backend
    assert isinstance(backend, Elsewhere)
    return backend


async def test_other_servers_get_a_copy_with_the_mark_of_this_one() -> None:
    async with in_memory(backend=Elsewhere) as world:
        one, two = await world.target(), await world.target()
        events = two.subscribe("a:")
        await world.settled(one, two)
        backend_of(world.bus).published.clear()
        one.dispatch("a", "", "from one")
        one.dispatch("call.add", "", "not relayed")
        world.bus.dispatch("a", "", "from here")
        assert await payloads(events, 2) == ["from here", "from one"]
        await world.settled(one)
        copies = [decode_copy(body) for topic, body in backend_of(world.bus).published[:2]]
        assert [(event.topic, event.payload) for event, _ in copies] == [
            ("a:", "from here"),
            ("a:", "from one"),
        ]
        assert len({mark for _, mark in copies}) == 1
        assert all(mark for _, mark in copies)
        assert not [t for t, _ in backend_of(world.bus).published if t.startswith("call.")]
    assert world.bus._backend is None


async def test_what_comes_from_elsewhere_is_heard_by_all_and_ones_own_by_nobody() -> None:
    async with in_memory(backend=Elsewhere) as world:
        one = await world.target()
        there, here = one.subscribe("a:"), world.bus.subscribe("a:")
        await world.settled(one)
        world.bus.dispatch("a", "", "own")
        _, own = backend_of(world.bus).published[-1]
        world.bus.arrived("a:", own)
        world.bus.arrived("a:", b'{"type":"a","payload":"theirs","origin":"elsewhere"}')
        world.bus.arrived("a:", b'{"type":"a","id":"","payload":"unmarked"}')
        assert await payloads(there, 3) == ["own", "theirs", "unmarked"]
        heard = [await soon(anext(here)) for _ in range(2)]
        assert [(event.payload, event.origin) for event in heard] == [
            ("theirs", None),
            ("unmarked", None),
        ]


@pytest.mark.parametrize(
    "body", [b"", b"secret", b'{"type":"b"}', b'{"type":"__a","id":""}', b'{"type":1}']
)
async def test_what_is_no_event_of_the_topic_is_skipped(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_memory(backend=Elsewhere) as world:
        here = world.bus.subscribe("a:")
        world.bus.arrived("a:", body)
        world.bus.arrived("__a:", body)
        world.bus.arrived("a:", b'{"type":"a","payload":1}')
        assert await payloads(here, 1) == [1]
        assert world.bus.figures.malformed == 2
    assert "secret" not in caplog.text


async def test_one_too_large_from_elsewhere_is_skipped() -> None:
    async with in_memory(backend=Elsewhere, max_frame=1024) as world:
        world.bus.arrived("a:", frame("a", "", "x" * 1024)[4:])
        assert world.bus.figures.malformed == 1
        with pytest.raises(EventError):
            world.bus.dispatch("a", "", "x" * 1024)


async def test_other_servers_are_asked_once_for_all_who_listen_here() -> None:
    async with in_memory(backend=Elsewhere) as world:
        one, two = await world.target(), await world.target()
        asked = backend_of(world.bus).asked
        first, second, here = one.subscribe("a:"), two.subscribe("a:"), world.bus.subscribe("a:")
        await world.settled(one, two)
        first.close()
        here.close()
        await world.settled(one)
        assert [topic for topic in asked if "a:" in topic] == ["+a:"]
        second.close()
        await world.settled(two)
        here = world.bus.subscribe("a:")
        first = one.subscribe("a:")
        await world.settled(one)
        first.close()
        await world.settled(one)
        here.close()
        assert [topic for topic in asked if "a:" in topic] == ["+a:", "-a:", "+a:", "-a:"]


async def test_who_listened_before_the_start_is_asked_for_then() -> None:
    bus = Bus(backend=Elsewhere)
    bus.add_listener("a:", print)
    bus.start()
    backend = backend_of(bus)
    assert backend.asked == ["+a:"]
    bus.remove_listener("a:", print)
    await bus.close()
    await bus.close()
    assert backend.closed
    bus.dispatch("a")


async def test_a_gap_is_logged_and_told(caplog: pytest.LogCaptureFixture) -> None:
    bus, gaps = Bus(), list[Gap]()

    def broken(_: Gap) -> None:
        raise RuntimeError

    bus.add_gap_listener(broken)
    bus.add_gap_listener(gaps.append)
    with caplog.at_level(logging.INFO):
        bus.missed(Gap(1.25, 7))
    assert gaps == [Gap(1.25, 7)]
    assert "bus gap seconds=1.2 dropped=7" in caplog.text


async def test_a_flood_on_one_channel_is_read_in_turns() -> None:
    async with in_memory() as world:
        _, flood = await world.channel()
        calm = await world.target()
        heard: list[Any] = []
        world.bus.add_listener("a:", heard.append)
        flood.write(frame("a", "", 0) * 10_000)
        await world.settled(calm)
        assert 0 < len(heard) < 1000, "a round trip of another took a few turns at most"
        async with asyncio.timeout(10):
            while len(heard) < 10_000:
                await asyncio.sleep(0)


async def test_large_events_end_a_turn_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_channel_module, "TURN_BYTES", 1000)
    async with in_memory() as world:
        heard: list[Any] = []
        world.bus.add_listener("a:", heard.append)
        _, writer = await world.channel()
        writer.write(frame("a", "", "x" * 400) * 30)
        most = 0
        async with asyncio.timeout(10):
            while len(heard) < 30:
                before = len(heard)
                await asyncio.sleep(0)
                most = max(most, len(heard) - before)
        assert most <= 3


async def test_an_identity_may_not_make_the_bus_hold_too_much(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with in_memory() as world:
        world.bus.holdings = Holdings(1_000_000)
        one, other = await world.target(0), await world.target(1)
        events = one.subscribe("a:")
        await world.settled(one)
        channels = [await world.channel(0) for _ in range(4)]
        for _, writer in channels:
            writer.write(frame("a", "", "x" * 350_000)[:300_000])
        for reader, writer in channels:
            if writer is channels[3][1]:
                assert await world.gone(reader)
        world.bus.dispatch("a", "", "goes on")
        assert await payloads(events, 1) == ["goes on"]
        await world.settled(other)
        assert world.bus.figures.cut == 1
    assert "reason=memory" in caplog.text
    assert world.bus.holdings._held == {}


async def test_one_that_grows_beyond_the_limit_when_it_is_written_anew_is_skipped() -> None:
    async with in_memory(max_frame=1024) as world:
        one = await world.target()
        events = one.subscribe("a:")
        await world.settled(one)
        _, writer = await world.channel()
        body = b'{"type":"a","payload":[%b0]}' % (b"1e9," * 200)
        writer.write(len(body).to_bytes(4, "big") + body + frame("a", "", "next"))
        assert await payloads(events, 1) == ["next"]
        assert world.bus.figures.malformed == 1


async def test_topics_count_as_held() -> None:
    async with in_memory() as world:
        world.bus.holdings = Holdings(100_000)
        reader, writer = await world.channel()
        for number in range(1000):
            writer.write(frame("__subscribe", "", {"topic": f"a:{number}"}))
        assert await world.gone(reader)
        assert not [topic for topic in world.bus._channels if topic.startswith("a:")]


async def test_a_large_frame_is_written_in_pieces_and_counts_until_it_is_gone() -> None:
    bus, recorder = Bus(), Recorder()
    channel = BusChannel(bus, Person("SHA256:one"))
    near, _ = memory_pair(recorder, channel)
    near.write(frame("__subscribe", "", {"topic": "a:"}))
    near.pause_reading()
    while "a:" not in bus._channels:
        await asyncio.sleep(0)
    large, small = "x" * 3_000_000, "y"
    bus.dispatch("a", "", large)
    bus.dispatch("a", "", small)
    await asyncio.sleep(0.01)
    assert near.get_write_buffer_size() == 0
    assert channel._backlog.waiting > 3_000_000
    near.resume_reading()
    whole = frame("a", "", large) + frame("a", "", small)
    assert await recorder.until_received(len(whole)) == whole
    near.close()
    await recorder.until_lost()


async def test_refusals_are_reported_once_a_channel(caplog: pytest.LogCaptureFixture) -> None:
    async with in_memory(may=lambda identity, action, topic: topic.startswith("test.")) as world:
        one = await world.target()
        for _ in range(5):
            one.dispatch("secret")
        one.subscribe("secret:")
        await world.settled(one)
        assert world.bus.figures.refused >= 5
    assert caplog.text.count("event or subscription refused") == 1
    assert "key_fingerprint=SHA256:one" in caplog.text
    assert "secret" not in caplog.text


async def test_a_channel_that_fails_keeps_nobody_waiting(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_memory() as world:
        reader, writer = await world.channel()
        writer.write(frame("__subscribe", "", {"topic": "a:"}))
        one = await world.target()
        while "a:" not in world.bus._channels:
            await world.settled(one)
        (broken,) = world.bus._channels["a:"]
        events = one.subscribe("a:")
        await world.settled(one)

        def fail() -> None:
            raise RuntimeError

        monkeypatch.setattr(broken, "flush", fail)
        world.bus.dispatch("a", "", "for the others")
        assert await payloads(events, 1) == ["for the others"]
        assert await world.gone(reader)
    assert "a bus channel failed error=RuntimeError" in caplog.text


async def test_a_flush_in_the_last_moment_is_no_error() -> None:
    async with in_memory() as world:
        reader, writer = await world.channel()
        one = await world.target()
        writer.write(frame("__subscribe", "", {"topic": "a:"}))
        while "a:" not in world.bus._channels:
            await world.settled(one)
        (channel,) = world.bus._channels["a:"]
        assert isinstance(channel, BusChannel)
        world.bus.dispatch("a")
        channel.connection_lost(None)
        channel.push(b"after the end")
        await asyncio.sleep(0)
        assert "closed" in repr(channel)
        writer.close()
        await reader.read()


@pytest.mark.parametrize("size", [0, 1023, 64 * 1024 * 1024 + 1])
def test_a_limit_that_no_frame_may_have_is_told_at_once(size: int) -> None:
    with pytest.raises(UsageError):
        ServeOptions(bus_max_frame=size)


async def test_objects_introduce_themselves() -> None:
    async with in_memory() as world:
        target: EventTarget = await world.target()
        target.add_listener("secret:", print)
        await world.settled(target)
        (channel,) = world.bus._channels["secret:"]
        for thing in (world.bus, channel, target, world.bus.holdings, target._listeners):
            assert "secret" not in repr(thing)
        assert isinstance(EventEnvelope("a"), EventEnvelope)
