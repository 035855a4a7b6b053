"""What the bus and its clients promise, over whatever carries them.

The tests of the Node package keep the same list: docs/architecture/napi-and-pubsub.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from tests.support.bus_world import MakeWorld, frame, payloads, soon
from wraith.errors import EventError, EventStreamError, StreamTruncated
from wraith.protocol.envelope import EventReader, subscribe, unsubscribe
from wraith.pubsub import Action, BusEvent, EventEnvelope, EventTarget

Promise: TypeAlias = Callable[[MakeWorld], Awaitable[None]]


async def an_event_reaches_every_other_channel_that_listens(make: MakeWorld) -> None:
    async with make() as world:
        one, two, three, deaf = [await world.target() for _ in range(4)]
        heard = [two.subscribe("chat:room"), three.subscribe("chat:room")]
        other = deaf.subscribe("chat:other")
        await world.settled(one, two, three, deaf)
        one.dispatch("chat", "room", {"text": "hé 😀"})
        one.dispatch("chat", "other", "last")
        for events in heard:
            assert await payloads(events, 1) == [{"text": "hé 😀"}]
        assert await payloads(other, 1) == ["last"]


async def nothing_comes_back_to_where_it_came_from(make: MakeWorld) -> None:
    async with make() as world:
        one, two = await world.target(), await world.target()
        mine, theirs = one.subscribe("chat:"), two.subscribe("chat:")
        await world.settled(one, two)
        one.dispatch("chat", "", "from one")
        assert await payloads(theirs, 1) == ["from one"]
        two.dispatch("chat", "", "from two")
        assert await payloads(mine, 1) == ["from two"]


async def the_events_of_one_publisher_stay_in_order(make: MakeWorld) -> None:
    async with make() as world:
        one, two = await world.target(), await world.target()
        events = two.subscribe("n:")
        await world.settled(two)
        for number in range(500):
            one.dispatch("n", "", number)
        assert await payloads(events, 500) == list(range(500))


async def several_frames_in_one_write_are_several_events(make: MakeWorld) -> None:
    async with make() as world:
        _, writer = await world.channel()
        events = (await world.target()).subscribe("a:")
        await world.settled(*world.targets)
        writer.write(frame("a", "", 1) + frame("b", "", 2) + frame("a", "", 3))
        assert await payloads(events, 2) == [1, 3]


async def a_frame_may_be_cut_anywhere(make: MakeWorld) -> None:
    async with make() as world:
        _, writer = await world.channel()
        events = (await world.target()).subscribe("chat:é")
        await world.settled(*world.targets)
        whole = frame("chat", "é", "😀")
        for cut in range(1, len(whole)):
            writer.write(whole[:cut])
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(whole[cut:])
        for at in range(len(whole)):
            writer.write(whole[at : at + 1])
            await asyncio.sleep(0)
        assert await payloads(events, len(whole)) == ["😀"] * len(whole)


async def subscribing_twice_delivers_once_and_once_less_is_enough(make: MakeWorld) -> None:
    async with make() as world:
        reader, writer = await world.channel()
        one = await world.target()
        for message in (subscribe("a:"), subscribe("a:"), unsubscribe("b:"), subscribe("c:")):
            writer.write(frame(message.type, "", message.payload))
        await _seen(one, "c:", world)
        for number in range(3):
            one.dispatch("a", "", number)
        one.dispatch("c", "", "end")
        assert await _until(reader, "c:") == [0, 1, 2, "end"]
        message = unsubscribe("a:")
        writer.write(frame(message.type, "", message.payload) * 2)
        await _nobody_wants(world, "a:")
        one.dispatch("a", "", 3)
        one.dispatch("c", "", "end")
        assert await _until(reader, "c:") == ["end"]


async def listeners_share_a_subscription_until_the_last_goes(make: MakeWorld) -> None:
    async with make() as world:
        one, two = await world.target(), await world.target()
        heard: list[Any] = []

        def listener(event: EventEnvelope) -> None:
            heard.append(event.payload)

        two.add_listener("a:", listener)
        two.add_listener("a:", listener)
        events = two.subscribe("a:")
        await world.settled(two)
        one.dispatch("a", "", 1)
        assert await payloads(events, 1) == [1]
        two.remove_listener("a:", listener)
        two.remove_listener("a:", listener)
        await world.settled(two)
        one.dispatch("a", "", 2)
        assert await payloads(events, 1) == [2]
        events.close()
        await _nobody_wants(world, "a:")
        assert heard == [1]


async def once_is_once(make: MakeWorld) -> None:
    async with make() as world:
        one, two = await world.target(), await world.target()
        heard: list[Any] = []
        two.add_listener("a:", lambda event: heard.append(event.payload), once=True)
        last = two.subscribe("b:")
        await world.settled(two)
        for number in range(3):
            one.dispatch("a", "", number)
        one.dispatch("b")
        await payloads(last, 1)
        assert heard == [0]
        await _nobody_wants(world, "a:")


async def a_listener_that_raises_keeps_nobody_from_hearing(make: MakeWorld) -> None:
    async with make() as world:
        one, two = await world.target(), await world.target()
        heard: list[Any] = []

        def broken(event: EventEnvelope) -> None:
            raise RuntimeError(event.payload)

        two.add_listener("a:", broken)
        two.add_listener("a:", lambda event: heard.append(event.payload))
        events = two.subscribe("a:")
        await world.settled(two)
        one.dispatch("a", "", 1)
        one.dispatch("a", "", 2)
        assert await payloads(events, 2) == [1, 2]
        assert heard == [1, 2]


async def a_malformed_body_is_skipped(make: MakeWorld) -> None:
    async with make() as world:
        _, writer = await world.channel()
        events = (await world.target()).subscribe("a:")
        await world.settled(*world.targets)
        for body in (b"hello", b'{"type":1}', b"\xff", b'{"type":"a","payload":NaN}', b"[]"):
            writer.write(len(body).to_bytes(4, "big") + body)
        writer.write(frame("a", "", "still here"))
        assert await payloads(events, 1) == ["still here"]
        assert world.bus.figures.malformed == 5


async def a_length_of_nothing_ends_the_channel(make: MakeWorld) -> None:
    async with make() as world:
        reader, writer = await world.channel()
        writer.write(b"\0\0\0\0" + frame("a"))
        assert await world.gone(reader)


async def a_length_beyond_the_limit_ends_the_channel(make: MakeWorld) -> None:
    async with make(max_frame=1024) as world:
        reader, writer = await world.channel()
        events = (await world.target()).subscribe("a:")
        await world.settled(*world.targets)
        room = 1024 - len(frame("a", "", "")) + 4
        writer.write(frame("a", "", "x" * room))
        assert await payloads(events, 1) == ["x" * room]
        writer.write((1025).to_bytes(4, "big"))
        assert await world.gone(reader)


async def an_end_inside_a_frame_ends_the_channel(make: MakeWorld) -> None:
    async with make() as world:
        reader, writer = await world.channel()
        writer.write(frame("a")[:-1])
        writer.write_eof()
        assert await world.gone(reader)


async def who_has_said_all_may_go_on_listening(make: MakeWorld) -> None:
    async with make() as world:
        one = await world.target()
        reader, writer = await world.channel()
        writer.write(frame("__subscribe", "", {"topic": "a:"}))
        writer.write_eof()
        await _seen(one, "a:", world)
        one.dispatch("a", "", "heard")
        assert await _until(reader, "a:") == ["heard"]


async def who_has_said_all_and_listens_to_nothing_is_let_go(make: MakeWorld) -> None:
    async with make() as world:
        events = (await world.target()).subscribe("a:")
        await world.settled(*world.targets)
        reader, writer = await world.channel()
        writer.write(frame("a", "", "last words"))
        writer.write_eof()
        assert await soon(reader.read()) == b""
        assert await payloads(events, 1) == ["last words"]


async def reserved_types_are_refused_and_unknown_ones_ignored(make: MakeWorld) -> None:
    async with make() as world:
        one = await world.target()
        events = (await world.target()).subscribe("a:")
        await world.settled(*world.targets)
        for kind in ("__subscribe", "__hello", "__"):
            with pytest.raises(EventError):
                one.dispatch(kind)
        _, writer = await world.channel()
        for payload in (None, {}, {"topic": 7}):
            writer.write(frame("__subscribe", "", payload))
        writer.write(frame("__hello", "", {"topic": "a:"}) + frame("a", "", 1))
        assert await payloads(events, 1) == [1]


async def a_slow_consumer_is_cut_and_the_others_hear_everything(make: MakeWorld) -> None:
    async with make() as world:
        reader, writer = await world.channel()
        writer.write(frame("__subscribe", "", {"topic": "a:"}))
        one, two = await world.target(), await world.target(1)
        events = two.subscribe("a:")
        await world.settled(two)
        await _seen(one, "a:", world, 2)
        # Nobody reads `reader`: its own buffer fills, then the windows, then what may wait.
        count, piece = 0, "x" * 50_000
        while world.bus.figures.cut == 0:
            assert count < 1000, "nobody was cut"
            one.dispatch("a", "", piece)
            await one.drain()
            assert await payloads(events, 1) == [piece]
            count += 1
        one.dispatch("a", "", "after it")
        assert await payloads(events, 1) == ["after it"]
        assert await world.gone(reader)
        assert world.bus.figures.cut == 1


async def a_channel_that_goes_leaves_nothing_behind(make: MakeWorld) -> None:
    async with make() as world:
        one, two = await world.target(), await world.target()
        _, writer = await world.channel()
        writer.write(frame("__subscribe", "", {"topic": "a:"}) + frame("a")[:5])
        events = two.subscribe("b:")
        await world.settled(two)
        await _seen(one, "a:", world)
        writer.transport.abort()
        await _nobody_wants(world, "a:")
        one.dispatch("b", "", "goes on")
        assert await payloads(events, 1) == ["goes on"]


async def calls_are_for_the_server_alone(make: MakeWorld) -> None:
    async with make() as world:
        one, two = await world.target(), await world.target()
        asked: list[BusEvent] = []

        def answer(event: BusEvent) -> None:
            asked.append(event)
            world.bus.dispatch("call.done", event.id, event.payload)

        world.bus.add_listener("call.add:1", answer)
        others, mine = two.subscribe("call.add:1"), one.subscribe("call.done:1")
        last = two.subscribe("b:")
        await world.settled(one, two)
        one.dispatch("call.add", "1", [1, 2])
        assert await payloads(mine, 1) == [[1, 2]]
        one.dispatch("b")
        await payloads(last, 1)
        assert len(asked) == 1
        assert asked[0].origin is not None
        assert asked[0].origin.fingerprint == world.people[0]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(others), 0.05)


async def a_direct_event_reaches_that_identity_alone(make: MakeWorld) -> None:
    async with make() as world:
        one, same, other = [await world.target(who) for who in (0, 0, 1)]
        mine = f"direct:{world.people[0]}"
        heard, again, stolen = [target.subscribe(mine) for target in (one, same, other)]
        last = other.subscribe("b:")
        await world.settled(one, same, other)
        other.dispatch("direct", world.people[0], "for you")
        assert await payloads(heard, 1) == ["for you"]
        assert await payloads(again, 1) == ["for you"]
        one.dispatch("direct", world.people[0], "for me")
        one.dispatch("b")
        await payloads(last, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stolen), 0.05)
        with pytest.raises(EventError):
            world.bus.subscribe(mine)


async def the_program_on_the_server_takes_part(make: MakeWorld) -> None:
    async with make() as world:
        one = await world.target()
        here, there = world.bus.subscribe("a:"), one.subscribe("a:")
        await world.settled(one)
        world.bus.dispatch("a", "", "from the server")
        assert await payloads(there, 1) == ["from the server"]
        one.dispatch("a", "", "from a client")
        assert await payloads(here, 1) == ["from a client"]
        with pytest.raises(EventError):
            world.bus.dispatch("__subscribe")
        with pytest.raises(EventError):
            world.bus.dispatch("a", "", 2**53)


async def a_hook_decides_who_may_do_what(make: MakeWorld) -> None:
    asked: list[tuple[str, Action, str]] = []

    def may(identity: Any, action: Action, topic: str) -> bool:
        asked.append((identity.fingerprint, action, topic))
        if topic == "broken:":
            raise RuntimeError
        return topic.startswith("test.") or (action is Action.SUBSCRIBE) == (topic == "out:")

    async with make(may=may) as world:
        one, two = await world.target(), await world.target(1)
        out, into, broken = [two.subscribe(topic) for topic in ("out:", "in:", "broken:")]
        listening = world.bus.subscribe("in:")
        await world.settled(two)
        for kind in ("out", "in", "broken"):
            one.dispatch(kind, "", "from one")
        assert await payloads(listening, 1) == ["from one"]
        for kind in ("in", "broken", "out"):
            world.bus.dispatch(kind, "", "from here")
        assert await payloads(out, 1) == ["from here"]
        for events in (into, broken):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.05)
        assert (world.people[1], Action.SUBSCRIBE, "out:") in asked
        assert (world.people[0], Action.PUBLISH, "in:") in asked
        assert world.bus.figures.refused == 4


async def closing_leaves_the_stream_to_its_owner(make: MakeWorld) -> None:
    async with make() as world:
        reader, writer = await world.channel()
        events = (await world.target()).subscribe("a:")
        await world.settled(*world.targets)
        target = EventTarget((reader, writer))
        waiting = target.subscribe("a:")
        target.dispatch("a", "", "dispatched before")
        await target.close()
        await target.close()
        assert target.is_closed
        assert await payloads(events, 1) == ["dispatched before"]
        assert [event async for event in waiting] == []
        with pytest.raises(EventStreamError):
            target.dispatch("a")
        with pytest.raises(EventStreamError):
            target.subscribe("a:")
        await target.wait_closed()
        writer.write(frame("a", "", "the stream lives"))
        assert await payloads(events, 1) == ["the stream lives"]


async def the_end_of_the_stream_ends_the_target(make: MakeWorld) -> None:
    async with make(max_frame=1024) as world:
        reader, writer = await world.channel()
        async with EventTarget((reader, writer)) as target:
            events = target.subscribe("a:")
            target.add_listener("b:", lambda event: None)
            writer.write(b"\0\0\0\0")
            with pytest.raises(EventStreamError) as caught:
                await soon(target.wait_closed())
            assert not isinstance(caught.value, StreamTruncated)
            with pytest.raises(EventStreamError):
                await anext(events)
            with pytest.raises(EventStreamError):
                await target.drain()


async def _until(reader: asyncio.StreamReader, topic: str) -> list[Any]:
    """The payloads of all events up to the first of a topic."""
    events, found = EventReader(), list[Any]()
    while True:
        event = events.next_event()
        if isinstance(event, EventEnvelope):
            found.append(event.payload)
            if event.topic == topic:
                return found
        else:
            events.receive_data(await soon(reader.read(65536)))


async def _seen(target: EventTarget, topic: str, world: Any, count: int = 1) -> None:
    """Wait until so many channels have subscribed to a topic."""
    async with asyncio.timeout(10):
        while len(world.bus._channels.get(topic, ())) < count:
            await world.settled(target)


async def _nobody_wants(world: Any, topic: str) -> None:
    async with asyncio.timeout(10):
        while topic in world.bus._channels:
            await asyncio.sleep(0.001)


PROMISES: tuple[Promise, ...] = (
    an_event_reaches_every_other_channel_that_listens,
    nothing_comes_back_to_where_it_came_from,
    the_events_of_one_publisher_stay_in_order,
    several_frames_in_one_write_are_several_events,
    a_frame_may_be_cut_anywhere,
    subscribing_twice_delivers_once_and_once_less_is_enough,
    listeners_share_a_subscription_until_the_last_goes,
    once_is_once,
    a_listener_that_raises_keeps_nobody_from_hearing,
    a_malformed_body_is_skipped,
    a_length_of_nothing_ends_the_channel,
    a_length_beyond_the_limit_ends_the_channel,
    an_end_inside_a_frame_ends_the_channel,
    who_has_said_all_may_go_on_listening,
    who_has_said_all_and_listens_to_nothing_is_let_go,
    reserved_types_are_refused_and_unknown_ones_ignored,
    a_slow_consumer_is_cut_and_the_others_hear_everything,
    a_channel_that_goes_leaves_nothing_behind,
    calls_are_for_the_server_alone,
    a_direct_event_reaches_that_identity_alone,
    the_program_on_the_server_takes_part,
    a_hook_decides_who_may_do_what,
    closing_leaves_the_stream_to_its_owner,
    the_end_of_the_stream_ends_the_target,
)
