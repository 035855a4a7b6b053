"""What joins the buses of several servers; one alone needs nothing of the kind.

A backend carries copies of events between servers. It is told what somebody here listens to, and
hands over what others have published. It promises what the bus does: at most once, in order for
each publisher, and a word about what was missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Gap:
    """Events were missed: others' while the way to them was broken, ours when too many waited."""

    seconds: float
    """For how long nothing came from other servers."""

    dropped: int
    """Events from here that other servers never got."""


class BackendOwner(Protocol):
    """The bus, as its backend sees it."""

    def arrived(self, topic: str, body: bytes) -> None:
        """A copy came, perhaps of an event from here."""
        ...

    def missed(self, gap: Gap) -> None:
        """Events were missed, and from now on they come again."""
        ...


class Backend(Protocol):
    """A way to other servers. None of the methods waits or raises, except that `close` waits."""

    def publish(self, topic: str, body: bytes) -> None:
        """Send a copy to every server that listens to the topic; this one may be among them."""
        ...

    def subscribe(self, topic: str) -> None:
        """Somebody here listens to the topic."""
        ...

    def unsubscribe(self, topic: str) -> None:
        """Nobody here listens to it any more."""
        ...

    async def close(self) -> None:
        """Forget what waits, and let go of the connections."""
        ...


BackendFactory: TypeAlias = Callable[[BackendOwner], Backend]
"""Makes a backend in the running event loop."""


class MemoryBackend:
    """No other servers."""

    def __init__(self, _owner: BackendOwner) -> None:
        pass

    def __repr__(self) -> str:
        return "<MemoryBackend>"

    def publish(self, topic: str, body: bytes) -> None:
        """Nobody else to tell."""

    def subscribe(self, topic: str) -> None:
        """Nobody else to ask."""

    def unsubscribe(self, topic: str) -> None:
        """Nobody else was asked."""

    async def close(self) -> None:
        """Nothing to let go of."""
