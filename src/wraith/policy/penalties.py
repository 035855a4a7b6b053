"""How often: who misbehaved, and must wait outside (sshd_config(5), PerSourcePenalties).

Time is passed in, as seconds on one monotonic clock. Addresses of IPv6 count by /64, like in
`limits`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from enum import Enum
from typing import Final

from wraith.policy.limits import source_of
from wraith.policy.openssh_patterns import IPNetwork, parse_address


class Offence(Enum):
    """What an address can be penalised for."""

    AUTH_FAILED = "authfail"
    NO_AUTH = "noauth"
    GRACE_EXCEEDED = "grace-exceeded"


#: What each costs, in seconds. The defaults of OpenSSH's PerSourcePenalties.
PENALTIES: Final = {Offence.AUTH_FAILED: 5.0, Offence.NO_AUTH: 1.0, Offence.GRACE_EXCEEDED: 10.0}


class Penalties:
    """Who must wait outside, and until when.

    Penalties of one address add up to `longest` seconds, and are enforced from `least` on, so that
    one mistyped login costs nothing. Addresses in `exempt` have none (a load balancer's, say). Of
    more than `max_sources` the one that is free soonest is forgotten.
    """

    def __init__(
        self,
        *,
        least: float = 15.0,
        longest: float = 600.0,
        max_sources: int = 65536,
        exempt: Iterable[IPNetwork] = (),
    ) -> None:
        self._least = least
        self._longest = longest
        self._max_sources = max_sources
        self._exempt = tuple(exempt)
        self._ends: dict[str, float] = {}
        self._enforced: set[str] = set()
        # One entry for each source, of a time no later than its end: a lazy priority queue.
        self._queue: list[tuple[float, str]] = []

    def penalise(self, address: str, offence: Offence, now: float) -> None:
        """Add what `offence` costs to what `address` owes, at time `now` in seconds."""
        if self._is_exempt(address):
            return
        source = source_of(address)
        self._forget_ended(now)
        if source not in self._ends:
            self._make_room()
            heapq.heappush(self._queue, (now, source))
        owed = self._ends.get(source, now) - now + PENALTIES[offence]
        self._ends[source] = now + min(owed, self._longest)
        if owed >= self._least:
            self._enforced.add(source)

    def refused_for(self, address: str, now: float) -> float:
        """Return for how many seconds from `now` on `address` is refused; 0 is not at all."""
        source = source_of(address)
        if source not in self._enforced or self._is_exempt(address):
            return 0.0
        return max(0.0, self._ends[source] - now)

    def _is_exempt(self, address: str) -> bool:
        if not address:
            return True  # one that a relay brought would be answerable for all others
        ip = parse_address(address)
        return any(ip in network for network in self._exempt)

    def _forget_ended(self, now: float) -> None:
        while self._queue and self._queue[0][0] <= now:
            source = self._queue[0][1]
            if self._ends[source] > now:
                heapq.heapreplace(self._queue, (self._ends[source], source))
            else:
                self._forget_first()

    def _make_room(self) -> None:
        while len(self._ends) >= self._max_sources:
            source = self._queue[0][1]
            if self._ends[source] > self._queue[0][0]:
                heapq.heapreplace(self._queue, (self._ends[source], source))
            else:
                self._forget_first()

    def _forget_first(self) -> None:
        _, source = heapq.heappop(self._queue)
        del self._ends[source]
        self._enforced.discard(source)

    def __len__(self) -> int:
        return len(self._ends)
