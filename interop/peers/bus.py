"""Clients of the event bus, over real SSH, inside the test's own process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import wraith
from interop.peers.keys import Key
from interop.peers.roles import Server, login_name
from wraith.pubsub import EventTarget, Subscription

PATIENCE = 15.0

_numbers = itertools.count()


@asynccontextmanager
async def on_the_bus(server: Server, key: Key) -> AsyncIterator[EventTarget]:
    """A session of its own, with one channel to the bus."""
    options = wraith.ConnectOptions(
        server=str(server.address),
        identity=[key.path],
        user=login_name(),
        host_key=server.host_key.fingerprint,
    )
    stream = await wraith.open_stream(options, "wraith-control:0")
    async with stream, EventTarget(stream) as target:
        yield target


async def settled(speaker: EventTarget, *listeners: EventTarget) -> None:
    """Wait until what the listeners asked for holds, for events of the speaker.

    A channel's requests are seen in order: once a topic of its own is heard, all before it is.
    """
    for listener in listeners:
        topic = f"settled:{next(_numbers)}"
        async with listener.subscribe(topic) as events, asyncio.timeout(PATIENCE):
            heard = asyncio.ensure_future(anext(events))
            while not heard.done():
                speaker.dispatch(*topic.split(":"))
                await asyncio.wait([heard], timeout=0.05)


async def next_payloads(events: Subscription[Any], count: int) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        return [(await anext(events)).payload for _ in range(count)]
