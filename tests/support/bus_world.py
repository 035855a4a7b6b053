"""A bus, and ways to reach it: in memory, and over real SSH."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import wraith
from wraith.protocol.envelope import EventEnvelope, encode_frame
from wraith.pubsub import Bus, EventTarget
from wraith.pubsub.bus_channel import BusChannel
from wraith.pubsub.listeners import Subscription
from wraith.ssh.keys import generate
from wraith.streams.memory import memory_pair
from wraith.testing import Loopback

PATIENCE = 10.0
"""Seconds for anything to happen."""

Pair: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Person:
    """An identity."""

    fingerprint: str
    principals: tuple[str, ...] = ()


class World:
    """A bus, two identities, and as many channels as wanted."""

    def __init__(self, bus: Bus, connect: Callable[[int], Any], people: tuple[str, str]) -> None:
        self.bus = bus
        self.people = people
        self._connect = connect
        self._left = AsyncExitStack()
        self._numbers = itertools.count()
        self.targets: list[EventTarget] = []
        bus.add_listener("test.sync:", self._answer)

    def _answer(self, event: EventEnvelope) -> None:
        self.bus.dispatch("test.synced", event.payload)

    async def channel(self, who: int = 0) -> Pair:
        """A channel to the bus, as bytes."""
        reader, writer = await self._connect(who)
        self._left.callback(writer.transport.abort)
        return reader, writer

    async def target(self, who: int = 0, **options: Any) -> EventTarget:
        """A channel to the bus, as an event target."""
        target = EventTarget(await self.channel(who), **options)
        self.targets.append(await self._left.enter_async_context(target))
        return target

    async def settled(self, *targets: EventTarget) -> None:
        """All that the targets have sent has been seen by the bus, and its answers have come."""
        for target in targets:
            number = str(next(self._numbers))
            async with target.subscribe(f"test.synced:{number}") as answers:
                target.dispatch("test.sync", "", number)
                await soon(anext(answers))

    async def gone(self, reader: asyncio.StreamReader) -> bool:
        """Whether the bus ends the channel; what came before is dropped."""
        async with asyncio.timeout(PATIENCE):
            try:
                while await reader.read(65536):
                    pass
            except ConnectionResetError:
                pass
        return True

    async def close(self) -> None:
        await self._left.aclose()


async def soon(awaited: Any) -> Any:
    """What it gives, within the patience of a test."""
    return await asyncio.wait_for(awaited, PATIENCE)


async def payloads(events: Subscription[Any], count: int) -> list[Any]:
    """The payloads of the next events."""
    return [(await soon(anext(events))).payload for _ in range(count)]


def frame(type: str, id: str = "", payload: Any = None) -> bytes:  # noqa: A002
    return encode_frame(EventEnvelope(type, id, payload))


@asynccontextmanager
async def in_memory(**options: Any) -> AsyncIterator[World]:
    """Channels that are pairs of streams in memory."""
    bus = Bus(**options)
    bus.start()
    people = ("SHA256:one", "SHA256:two")

    async def connect(who: int) -> Pair:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        transport, _ = memory_pair(protocol, BusChannel(bus, Person(people[who])))
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    world = World(bus, connect, people)
    try:
        yield world
    finally:
        await world.close()
        await bus.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def over_ssh(**options: Any) -> AsyncIterator[World]:
    """Channels of two SSH sessions, with a key each."""
    keys = [generate("one"), generate("two")]
    serve = {f"bus_{name}": value for name, value in options.items()}
    serve["authorized_keys"] = b"".join(key.public.line().encode() + b"\n" for key in keys)
    async with Loopback(serve=serve, connect={"identity": [keys[0].export()]}) as tunnel:
        second = dataclasses.replace(
            tunnel.connect_options,
            identity=[keys[1].export()],
            host_key=tunnel.server.host_key_fingerprint,
        )
        async with wraith.connect(second) as other:
            clients = [tunnel.client, other]

            async def connect(who: int) -> Pair:
                return await clients[who].open_connection("wraith-control", 0)

            people = (keys[0].public.fingerprint, keys[1].public.fingerprint)
            world = World(tunnel.server.bus, connect, people)
            try:
                yield world
            finally:
                await world.close()


MakeWorld: TypeAlias = Callable[..., AbstractAsyncContextManager[World]]

WORLDS: dict[str, MakeWorld] = {"in memory": in_memory, "over ssh": over_ssh}
