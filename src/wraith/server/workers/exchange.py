"""The event bus over all workers: copies of events go through the parent.

To a worker it is what Redis is to several machines, a `Backend`; where there is a Redis as well,
the parent is its one client. The parent looks into no event: a worker knows its own by their mark,
and those that come back from elsewhere by what all marks of this server begin with.
"""

from __future__ import annotations

import secrets

from wraith.protocol.envelope import decode_copy
from wraith.pubsub.backend import Backend, BackendFactory, BackendOwner, Gap, MemoryBackend
from wraith.server.workers.link import Link


class Exchange:
    """The parent's side; also the owner of what joins other servers."""

    def __init__(self, backend: BackendFactory) -> None:
        self._make_backend = backend
        self._alone = backend is MemoryBackend
        self._backend: Backend | None = None
        self._mark = secrets.token_hex(8)
        self._marks = 0
        self._topics: dict[str, dict[Link, None]] = {}

    def __repr__(self) -> str:
        return f"<Exchange topics={len(self._topics)}>"

    def start(self) -> None:
        """Join the other servers, if there are any. Called in the event loop."""
        self._backend = self._make_backend(self)

    def new_mark(self) -> str:
        """For the events of one more worker."""
        self._marks += 1
        return f"{self._mark}{self._marks}"

    def subscribe(self, link: Link, topic: str) -> None:
        """Somebody at a worker listens to the topic."""
        links = self._topics.get(topic)
        if links is None:
            links = self._topics[topic] = {}
            if self._backend is not None:
                self._backend.subscribe(topic)
        links[link] = None

    def unsubscribe(self, link: Link, topic: str) -> None:
        """Nobody at a worker listens to it any more."""
        links = self._topics.get(topic, {})
        if link not in links:
            return
        del links[link]
        if not links:
            del self._topics[topic]
            if self._backend is not None:
                self._backend.unsubscribe(topic)

    def publish(self, origin: Link, topic: str, body: bytes) -> None:
        """A copy from a worker: for every other that listens, and for other servers."""
        self._spread(origin, topic, body)
        if self._backend is not None and not self._alone:
            self._backend.publish(topic, body)

    def _spread(self, origin: Link | None, topic: str, body: bytes) -> None:
        for link in list(self._topics.get(topic, ())):
            if link is not origin:
                link.copy(topic, body)

    def forget(self, link: Link) -> None:
        """A worker is gone, and so is all that it wanted."""
        for topic in [topic for topic, links in self._topics.items() if link in links]:
            self.unsubscribe(link, topic)

    # As `BackendOwner`

    def arrived(self, topic: str, body: bytes) -> None:
        """As `BackendOwner.arrived`; what is from here has gone its way already."""
        try:
            _, origin = decode_copy(body)
        except ValueError:
            origin = ""  # the workers say so, each for itself
        if not origin.startswith(self._mark):
            self._spread(None, topic, body)

    def missed(self, gap: Gap) -> None:
        """As `BackendOwner.missed`: every worker is told."""
        for link in {link: None for links in self._topics.values() for link in links}:
            link.say("missed", seconds=gap.seconds, dropped=gap.dropped)

    async def close(self) -> None:
        """Leave the other servers."""
        backend, self._backend = self._backend, None
        if backend is not None:
            await backend.close()


class ExchangeBackend:
    """A worker's side, as `Backend`."""

    def __init__(self, link: Link, _owner: BackendOwner) -> None:
        self._link = link

    def __repr__(self) -> str:
        return "<ExchangeBackend>"

    def publish(self, topic: str, body: bytes) -> None:
        """As `Backend.publish`."""
        self._link.copy(topic, body)

    def subscribe(self, topic: str) -> None:
        """As `Backend.subscribe`."""
        self._link.say("subscribe", topic=topic)

    def unsubscribe(self, topic: str) -> None:
        """As `Backend.unsubscribe`."""
        self._link.say("unsubscribe", topic=topic)

    async def close(self) -> None:
        """As `Backend.close`; the link ends with the worker."""
