"""The bus: who listens to what, and who may; the server's side of a stream of events.

An event from one channel goes to every other channel that listens to its topic, and to this
program's own listeners, never back to where it came from. Delivery is at most once, and in order
for each publisher. A publisher never waits: who does not take its events in time is cut.

Two kinds of events are special. `call.*` is for this program alone, and is not relayed.
`direct:<key fingerprint>` reaches that identity only, which alone may listen to it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from wraith.errors import EventError
from wraith.protocol.envelope import (
    DEFAULT_MAX_FRAME,
    EventEnvelope,
    application_event,
    checked_max_frame,
    decode_copy,
    encode_body,
    frame,
    with_origin,
)
from wraith.pubsub.backend import Backend, BackendFactory, Gap, MemoryBackend
from wraith.pubsub.holdings import Holdings
from wraith.pubsub.listeners import Listener, Listeners, Subscription
from wraith.streams.log_line import log_event

_log = logging.getLogger("wraith.pubsub")

CALLS = "call."
DIRECT = "direct:"


class Action(StrEnum):
    """What a peer wants to do with a topic."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


class Identity(Protocol):
    """Who is at the other end of a channel, as the session proved it."""

    @property
    def fingerprint(self) -> str:
        """Of its key, `SHA256:…`."""
        ...

    @property
    def principals(self) -> tuple[str, ...]:
        """What its certificate proves."""
        ...


class Channel(Protocol):
    """One client, as the bus sees it; `BusChannel` is what it really is."""

    identity: Identity

    def push(self, frame: bytes) -> None:
        """An event for it; never waits."""
        ...

    def flush(self) -> None:
        """Write what waits, now."""
        ...

    def abort(self) -> None:
        """End it at once."""
        ...

    def malformed(self) -> None:
        """What it sent is no event."""
        ...

    def refused(self) -> None:
        """What it asked for is not allowed."""
        ...


May: TypeAlias = Callable[[Any, Action, str], bool]
"""`may(identity, action, topic)`: asked for every event and every subscription of a channel.

On a server the identity is a `wraith.ServicePeer`. It must not block; what it raises is a no.
"""


@dataclass(frozen=True, slots=True, repr=False)
class BusEvent(EventEnvelope):
    """An event as a listener on the server hears it."""

    origin: Identity | None = None
    """Who published it on a channel here; None for events from other servers."""


@dataclass(slots=True)
class Figures:
    """What a bus has done so far, in events and channels."""

    published: int = 0
    delivered: int = 0
    """To channels; one event may be delivered many times."""
    refused: int = 0
    """Events and subscriptions that were not allowed."""
    malformed: int = 0
    cut: int = 0
    """Channels that did not take their events in time, or held too much."""


class Bus:
    """One server's bus. This program publishes and listens here, too.

    `may` is asked what channels may do, `backend` joins other servers, and `max_frame` is the limit
    of one event in bytes. `ValueError` for one beyond 1 KiB to 64 MiB. `mark` tells its events from
    those of others, in letters and digits; by default it is made up.
    """

    def __init__(
        self,
        *,
        may: May | None = None,
        backend: BackendFactory = MemoryBackend,
        max_frame: int = DEFAULT_MAX_FRAME,
        mark: str = "",
    ) -> None:
        self.max_frame = checked_max_frame(max_frame)
        self.figures = Figures()
        self.holdings = Holdings()
        self._may = may
        self._make_backend = backend
        self._alone = backend is MemoryBackend
        self._backend: Backend | None = None
        self._mark = mark or secrets.token_hex(8)
        self._channels: dict[str, dict[Channel, None]] = {}
        self._listeners = Listeners[BusEvent](self._wanted_here, self._unwanted_here)
        self._gap_listeners: list[Callable[[Gap], object]] = []
        self._to_flush: dict[Channel, None] = {}

    def __repr__(self) -> str:
        return f"<wraith.pubsub.Bus topics={len(self._channels)} {self.figures}>"

    def start(self) -> None:
        """Join the other servers, if there are any. Called in the event loop."""
        self._backend = self._make_backend(self)
        for topic in self._topics():
            self._backend.subscribe(topic)

    async def close(self) -> None:
        """Leave the other servers, and end the subscriptions of this program."""
        self._listeners.end(None)
        backend, self._backend = self._backend, None
        if backend is not None:
            await backend.close()

    # This program's own events

    def dispatch(
        self,
        type: str,  # noqa: A002 - the words of the wire
        id: str = "",  # noqa: A002
        payload: Any = None,
    ) -> None:
        """Publish an event to all channels and servers that listen; this program does not hear it.

        Never waits. Raises `EventError` for what cannot be sent.
        """
        event = application_event(type, id, payload)
        body = encode_body(event)
        whole = frame(body, self.max_frame)
        self.figures.published += 1
        self._relay(event.topic, whole, None)
        self._copy(event.topic, body)

    def add_listener(self, topic: str, listener: Listener[BusEvent], *, once: bool = False) -> None:
        """Call `listener` with each event of a topic, `type:id`, or with the next one only.

        Raises `EventError` for the topic of an identity, which alone may listen to it.
        """
        self._listeners.add(_own(topic), listener, once=once)

    def remove_listener(self, topic: str, listener: Listener[BusEvent]) -> None:
        """Call it no more."""
        self._listeners.remove(topic, listener)

    def subscribe(self, topic: str) -> Subscription[BusEvent]:
        """The events of a topic from now on, for `async for`. Raises as `add_listener`."""
        return self._listeners.subscribe(_own(topic))

    def add_gap_listener(self, listener: Callable[[Gap], object]) -> None:
        """Call `listener` when events from or to other servers were missed."""
        self._gap_listeners.append(listener)

    # Channels

    def published(self, origin: Channel, event: EventEnvelope) -> None:
        """A channel sent an event of its own."""
        topic = event.topic
        if not self._allows(origin.identity, Action.PUBLISH, topic):
            origin.refused()
            return
        self.figures.published += 1
        here, relayed = topic in self._listeners, not event.type.startswith(CALLS)
        if not here and not (relayed and (topic in self._channels or not self._alone)):
            return
        try:
            body = encode_body(event)
            whole = frame(body, self.max_frame)
        except EventError:  # it came within the limits, and written anew it is not
            origin.malformed()
            return
        if relayed:
            self._relay(topic, whole, origin)
            self._copy(topic, body)
        if here:
            self._tell(event, len(whole), origin.identity)

    def subscribe_channel(self, channel: Channel, topic: str) -> bool:
        """A channel wants the events of a topic; whether it may have them."""
        direct = topic.startswith(DIRECT) and topic != DIRECT + channel.identity.fingerprint
        if direct or not self._allows(channel.identity, Action.SUBSCRIBE, topic):
            channel.refused()
            return False
        channels = self._channels.get(topic)
        if channels is None:
            channels = self._channels[topic] = {}
            if topic not in self._listeners and self._backend is not None:
                self._backend.subscribe(topic)
        channels[channel] = None
        return True

    def unsubscribe_channel(self, channel: Channel, topic: str) -> None:
        """A channel no longer wants the events of a topic."""
        channels = self._channels.get(topic, {})
        if channel not in channels:
            return
        del channels[channel]
        if not channels:
            del self._channels[topic]
            if topic not in self._listeners and self._backend is not None:
                self._backend.unsubscribe(topic)

    def _allows(self, identity: Identity, action: Action, topic: str) -> bool:
        if self._may is None:
            return True
        try:
            return bool(self._may(identity, action, topic))
        except Exception as error:
            log_event(_log, logging.ERROR, "may failed", error=type(error).__name__)
            return False

    def _relay(self, topic: str, whole: bytes, origin: Channel | None) -> None:
        """To every channel that listens but one; a channel that is too slow is cut on the way."""
        for channel in list(self._channels.get(topic, ())):
            if channel is not origin:
                channel.push(whole)
                self.figures.delivered += 1

    def _copy(self, topic: str, body: bytes) -> None:
        """For other servers, marked so that it is known when it comes back."""
        if self._backend is not None and not self._alone:
            self._backend.publish(topic, with_origin(body, self._mark))

    def flush_soon(self, channel: Channel) -> None:
        """Have a channel write what waits for it, once for all events of this turn of the loop."""
        if not self._to_flush:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_flush[channel] = None

    def _flush(self) -> None:
        channels, self._to_flush = self._to_flush, {}
        for channel in channels:
            try:
                channel.flush()
            except Exception as error:  # a fault of one channel must not keep the others waiting
                log_event(_log, logging.ERROR, "a bus channel failed", error=type(error).__name__)
                channel.abort()

    # This program's listeners, and other servers

    def _topics(self) -> set[str]:
        return {*self._channels, *self._listeners.topics}

    def _wanted_here(self, topic: str) -> None:
        if topic not in self._channels and self._backend is not None:
            self._backend.subscribe(topic)

    def _unwanted_here(self, topic: str) -> None:
        if topic not in self._channels and self._backend is not None:
            self._backend.unsubscribe(topic)

    def _tell(self, event: EventEnvelope, size: int, origin: Identity | None) -> None:
        self._listeners.deliver(BusEvent(event.type, event.id, event.payload, origin), size)

    def arrived(self, topic: str, body: bytes) -> None:
        """As `BackendOwner.arrived`: tell everybody here, unless it is from here."""
        try:
            event, origin = decode_copy(body)
            if event.topic != topic or event.is_reserved:
                raise ValueError("not an event of this topic")
            if origin == self._mark:
                return
            whole = frame(encode_body(event), self.max_frame)
        except ValueError:
            self.figures.malformed += 1
            log_event(_log, logging.WARNING, "malformed event from another server skipped")
            return
        self._relay(topic, whole, None)
        self._tell(event, len(whole), None)

    def missed(self, gap: Gap) -> None:
        """As `BackendOwner.missed`: say so."""
        seconds = f"{gap.seconds:.1f}"
        log_event(_log, logging.WARNING, "bus gap", seconds=seconds, dropped=gap.dropped)
        for listener in list(self._gap_listeners):
            try:
                listener(gap)
            except Exception as error:
                log_event(_log, logging.ERROR, "a listener failed", error=type(error).__name__)


def _own(topic: str) -> str:
    if topic.startswith(DIRECT):
        raise EventError("only the identity itself may listen to its direct topic")
    return topic
