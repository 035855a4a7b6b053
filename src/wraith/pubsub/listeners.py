"""Who in this program listens to which topic.

A listener is a function; a `Subscription` is a listener that is read with `async for`. The first
one of a topic and the last one to go are told to the owner, which asks for the topic and gives it
up again. What a listener raises is its own affair: the others hear the event all the same.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeAlias, TypeVar

from wraith.errors import SlowConsumer
from wraith.protocol.envelope import EventEnvelope
from wraith.pubsub.backlog import Backlog
from wraith.streams.log_line import log_event

_log = logging.getLogger("wraith.pubsub")

E = TypeVar("E", bound=EventEnvelope)

Listener: TypeAlias = Callable[[E], object]

Tell: TypeAlias = Callable[[E, int], object]
"""Takes an event, and what it took on the wire in bytes."""


@dataclass(frozen=True, slots=True)
class _Entry(Generic[E]):
    tell: Tell[E]
    once: bool


class Listeners(Generic[E]):
    """The listeners of one program, by topic, in the order in which they came.

    `wanted` is called with a topic before its first listener is added, `unwanted` after its last
    one has gone. What `wanted` raises, the caller of `add` gets, and nobody has been added.
    """

    def __init__(self, wanted: Callable[[str], None], unwanted: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._unwanted = unwanted
        self._topics: dict[str, dict[object, _Entry[E]]] = {}
        self._subscriptions = weakref.WeakSet[Subscription[E]]()

    def __repr__(self) -> str:
        return f"<Listeners topics={len(self._topics)}>"

    def __contains__(self, topic: str) -> bool:
        """Whether somebody listens to the topic."""
        return topic in self._topics

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that somebody listens to."""
        return tuple(self._topics)

    def add(self, topic: str, listener: Listener[E], *, once: bool) -> None:
        """Add a listener; one that is there already is not added a second time."""
        self._add(topic, listener, lambda event, _size: listener(event), once)

    def _add(self, topic: str, key: object, tell: Tell[E], once: bool) -> None:
        if topic not in self._topics:
            self._wanted(topic)
        self._topics.setdefault(topic, {}).setdefault(key, _Entry(tell, once))

    def remove(self, topic: str, key: object) -> None:
        """Remove a listener, if it is there."""
        entries = self._topics.get(topic, {})
        if entries.pop(key, None) is not None and not entries:
            del self._topics[topic]
            self._unwanted(topic)

    def subscribe(self, topic: str) -> Subscription[E]:
        """Listen to a topic from now on; read it with `async for`."""
        key = object()
        subscription = Subscription[E](lambda: self.remove(topic, key))
        there = weakref.ref(subscription)

        def tell(event: E, size: int) -> None:
            if (reader := there()) is not None:
                reader._put(event, size)

        self._add(topic, key, tell, once=False)
        self._subscriptions.add(subscription)
        return subscription

    def deliver(self, event: E, size: int) -> None:
        """Tell everybody who listens now; `size` is what the event took on the wire, in bytes."""
        topic = event.topic
        for key, entry in list(self._topics.get(topic, {}).items()):
            if key not in self._topics.get(topic, ()):
                continue  # removed by one before it
            if entry.once:
                self.remove(topic, key)
            try:
                entry.tell(event, size)
            except Exception as error:
                log_event(_log, logging.ERROR, "a listener failed", error=type(error).__name__)

    def end(self, error: Exception | None) -> None:
        """Nothing more will come. Subscriptions end, with `error` if there is one."""
        self._topics.clear()
        for subscription in list(self._subscriptions):
            subscription._end(error)


class Subscription(Generic[E]):
    """The events of one topic; made by `subscribe`, read with `async for`.

    It ends when the stream below ends, cleanly or with the error of that. A reader that lets more
    than 1 MiB wait, beyond one event, gets `SlowConsumer` after what waits. The topic is given up
    when the subscription is closed, or when nobody holds it any more: leaving the loop is enough.
    """

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._backlog = Backlog[E]()
        self._ended = False
        self._error: Exception | None = None
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        state = "ended" if self._ended else "open"
        return f"<Subscription {state} waiting={len(self._backlog)}>"

    def _put(self, event: E, size: int) -> None:
        if not self._backlog.has_room(size):
            self._leave()
            self._end(SlowConsumer("more events are waiting than a subscription may hold"))
            return
        self._backlog.push(event, size)
        self._news.set()

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._error = error
        self._news.set()

    def close(self) -> None:
        """Listen no more; what waits is forgotten. May be called more than once."""
        self._backlog.clear()
        if not self._ended:
            self._end(None)
            self._leave()

    def __del__(self) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        while not self._backlog:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._backlog.pop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
