"""What a probe is, how it is run, and what is seen of the other side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from interop.stealth.wire import MODERN, Seen, Tls, Wire

PAUSE = 0.25
"""Seconds in which a step's answer comes, if one comes at once."""

LISTEN = 1.2
"""Seconds after the last step: whoever has not ended by then keeps the connection."""

Step = Callable[[Wire], float]
"""Does something and returns how long to listen after it."""


def say(data: bytes, pause: float = PAUSE) -> Step:
    """Send bytes in one record and listen."""

    def step(wire: Wire) -> float:
        wire.send(data)
        return pause

    return step


def say_raw(data: bytes, pause: float = PAUSE) -> Step:
    """Send bytes past TLS and listen."""

    def step(wire: Wire) -> float:
        wire.send_raw(data)
        return pause

    return step


def wait(seconds: float) -> Step:
    """Only listen."""
    return lambda _wire: seconds


def notify(pause: float = PAUSE) -> Step:
    """Send close_notify and listen."""

    def step(wire: Wire) -> float:
        wire.notify()
        return pause

    return step


def fin(pause: float = PAUSE) -> Step:
    """End our direction and listen."""

    def step(wire: Wire) -> float:
        wire.end()
        return pause

    return step


@dataclass(frozen=True)
class Probe:
    """Steps on one connection; `tls` is None for plain text."""

    name: str
    steps: Sequence[Step] = ()
    tls: Tls | None = MODERN
    resumed: bool = False
    """Whether it comes back with the session of an earlier connection."""

    slow: bool = False
    """Whether it waits for a time-out; slow ones begin first."""

    records: bool = False
    """Whether the lengths of the TLS records are compared, too."""

    def run(self, port: int) -> Seen:
        """Put the probe to the server on a port of this machine."""
        earlier = self._first_visit(port) if self.resumed else None
        wire = Wire(port, self.tls, earlier)
        try:
            return self._watch(wire)
        finally:
            wire.close()

    def _first_visit(self, port: int) -> Wire:
        wire = Wire(port, self.tls)
        wire.send(b"HEAD / HTTP/1.0\r\n\r\n")
        wire.listen(1)
        wire.close()
        return wire

    def _watch(self, wire: Wire) -> Seen:
        seen = wire.seen
        refused = self.tls is not None and wire.tls is None
        for step in () if refused else self.steps:
            seen.said.append(b"" if wire.over else wire.listen(step(wire)))
        seen.said.append(wire.listen(LISTEN))
        wire.finish()
        if self.records:
            seen.handshake += (tuple(wire.records),)
        if wire.tls is not None and wire.tls.session is not None:
            session = wire.tls.session
            seen.handshake += (session.has_ticket, session.ticket_lifetime_hint)
        return seen
