"""Which packets belong to which connection. Pure: the time is handed in.

An application's packet from A to B becomes one from a *peer* address of the device's network, with
a port of its own for each flow, to our listener; so the kernel takes the connection and tells us
by the port which flow it is. The listener's answer takes the same way back.

    application  A → B                  becomes   peer:port → own:listener
    listener     own:listener → peer:port    becomes   B → A

A flow waits, with its SYN, until the proxy has reached the destination; then it is open. When it
is over its port rests, since late segments may still come.
"""

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from wraith_tun.packets import Ends, Redirect

REST = 30.0
"""Seconds in which a port that was used is not used again, unless no other is left."""

PORTS = range(1024, 65536)

Side = tuple[bytes, bytes, int]
"""For one version of IP: our address, the peer's, and our listener's port."""


@dataclass(eq=False, repr=False, slots=True)
class Flow:
    """One connection of an application."""

    ends: bytes
    syn: bytes
    port: int
    back: bytes = b""  # the ends of what our listener sends, once the flow is open
    live: bool = True


class Flows:
    """All flows; at most `limit` live at a time."""

    def __init__(self, sides: Sequence[Side], limit: int = len(PORTS)) -> None:
        self._sides = {len(own): (own, peer, port) for own, peer, port in sides}
        self._limit = limit
        self._free = deque(PORTS)
        self._resting: deque[tuple[float, Flow]] = deque()
        self._live = 0
        self._by_ends: dict[bytes, Flow] = {}
        self._redirects: dict[bytes, Redirect] = {}

    def find(self, ends: bytes, *, syn: bool) -> Redirect | None:
        """Where a packet goes; a SYN that uses the ends of a flow that is over goes nowhere yet."""
        return self._redirects.get(ends) if not syn or self.knows(ends) else None

    def knows(self, ends: bytes) -> bool:
        """Whether a live flow has these ends, so that its SYN has come before."""
        flow = self._by_ends.get(ends)
        return flow is not None and flow.live

    def begin(self, ends: bytes, syn: bytes) -> Flow | None:
        """A new flow for a SYN; None when there are too many, or no listener for it."""
        if len(Ends.of(ends).source) not in self._sides or self._live >= self._limit:
            return None
        if not self._free:
            self._forget(self._resting.popleft()[1])  # the one that has rested longest
        flow = Flow(ends, syn, self._free.popleft())
        self._redirects.pop(ends, None)  # of an earlier flow that is over
        self._by_ends[ends] = flow
        self._live += 1
        return flow

    def open(self, flow: Flow) -> Redirect:
        """Let its packets pass; returns where the SYN goes."""
        ends = Ends.of(flow.ends)
        own, peer, listener = self._sides[len(ends.source)]
        ports = struct.pack(">HHH", listener, flow.port, listener)
        flow.back = own + peer + ports[:4]
        self._redirects[flow.back] = Redirect.between(flow.back, ends.reversed())
        inward = Redirect.between(flow.ends, peer + own + ports[2:])
        self._redirects[flow.ends] = inward
        return inward

    def end(self, flow: Flow, now: float) -> None:
        """It is over: its port rests from now on, and late packets still find their way."""
        self._live -= 1
        flow.live = False
        self._resting.append((now + REST, flow))
        while self._resting and self._resting[0][0] <= now:
            self._forget(self._resting.popleft()[1])

    def _forget(self, flow: Flow) -> None:
        if self._by_ends[flow.ends] is flow:  # else the same ends are in use again
            del self._by_ends[flow.ends]
            self._redirects.pop(flow.ends, None)
        self._redirects.pop(flow.back, None)
        self._free.append(flow.port)
