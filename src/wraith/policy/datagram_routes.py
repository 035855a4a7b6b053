"""Who an association has sent datagrams to, and whose datagrams may therefore come back.

This is what a router with address translation remembers (RFC 4787): one socket serves all partners,
and a datagram is let in only from an address and port that was written to a short while ago. So
everything that comes in comes from a partner that the rules have approved.

    routes.find(written)     the partner for an address as the client writes it, if it is known
    routes.add(written, …)   a partner that was approved just now
    routes.name_of(partner)  how the client calls whoever sent something, or None to drop it

Either direction keeps a route alive. Time is passed in, in seconds.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

IDLE = 60.0
"""Seconds after which a route without traffic is forgotten."""

MOST_ROUTES = 256
"""Routes of one association; beyond that, the one that was written to longest ago goes."""

Partner = TypeVar("Partner", bound=Hashable)


@dataclass(slots=True, repr=False)
class _Route(Generic[Partner]):
    written: bytes
    partner: Partner
    used: float


class DatagramRoutes(Generic[Partner]):
    """The routes of one association; `Partner` is what stands for an address and port."""

    def __init__(self, idle: float = IDLE, most: int = MOST_ROUTES) -> None:
        self._idle = idle
        self._most = most
        self._by_written: dict[bytes, _Route[Partner]] = {}  # written to longest ago first
        self._by_partner: dict[Partner, _Route[Partner]] = {}

    def __repr__(self) -> str:
        return f"<DatagramRoutes {len(self._by_written)}>"

    def __len__(self) -> int:
        return len(self._by_written)

    def find(self, written: bytes, now: float) -> Partner | None:
        """Return the partner that the client calls `written`, if it was written to lately."""
        route = self._by_written.pop(written, None)
        if route is None:
            return None
        if now - route.used >= self._idle:
            self._forget(route)
            return None
        route.used = now
        self._by_written[written] = route
        self._by_partner[route.partner] = route  # the name that was used last is the answer's
        return route.partner

    def add(self, written: bytes, partner: Partner, now: float) -> None:
        """Note that the client calls a partner `written`, and writes to it now."""
        former = self._by_written.get(written)
        if former is None and len(self._by_written) >= self._most:
            former = next(iter(self._by_written.values()))
        if former is not None:
            self._forget(former)
        route = _Route(written, partner, now)
        self._by_written[written] = self._by_partner[partner] = route

    def name_of(self, partner: Partner, now: float) -> bytes | None:
        """Return what the client calls a partner; None for one that it has not written to."""
        route = self._by_partner.get(partner)
        if route is None or now - route.used >= self._idle:
            return None
        route.used = now
        return route.written

    def expire(self, now: float) -> None:
        """Forget the routes that nobody has used for too long."""
        for route in list(self._by_written.values()):
            if now - route.used >= self._idle:
                self._forget(route)

    def clear(self) -> None:
        """Forget all of them, as when other rules are in force."""
        self._by_written.clear()
        self._by_partner.clear()

    def _forget(self, route: _Route[Partner]) -> None:
        self._by_written.pop(route.written, None)
        if self._by_partner.get(route.partner) is route:
            del self._by_partner[route.partner]
