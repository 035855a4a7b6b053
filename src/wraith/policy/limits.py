"""How many connections: decided before a stranger costs us anything.

As sshd_config(5) has it for MaxStartups and PerSourceMaxStartups, chance being passed in. Addresses
of IPv6 count by /64, the least that one customer has. A peer that a relay brought has no address;
until they are authenticated all of those count as one.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from wraith.policy.openssh_patterns import parse_address

#: Random early drop begins at this share of the places, and with this probability; it rises to
#: certainty when all are taken. OpenSSH's default, `10:30:100`, begins at a tenth of them.
EARLY_DROP_START = 0.3
EARLY_DROP_RATE = 0.3

_IPV6_PREFIX = 64


class StartupRefusal(StrEnum):
    """Why a connection is not admitted; the words are stable, audit logs show them."""

    FULL = "max-startups"
    EARLY_DROP = "max-startups-early"
    ADDRESS_FULL = "max-startups-per-ip"
    TOO_MANY_CONNECTIONS = "max-connections-per-ip"


@dataclass(frozen=True, slots=True)
class Admission:
    """Either a token, to be given back, or a refusal."""

    token: int | None = None
    refusal: StartupRefusal | None = None

    @property
    def admitted(self) -> bool:
        """Whether the connection may go on."""
        return self.refusal is None


class StartupLimits:
    """The books of open connections; each limit is a number, and 0 is none.

    `max_startups` are those not yet authenticated, `max_per_address` those of them from one
    address, and `max_connections_per_ip` all that an address has open.
    """

    def __init__(
        self,
        max_startups: int = 100,
        max_per_address: int = 20,
        max_connections_per_ip: int = 0,
    ) -> None:
        self.max_startups = max_startups
        self.max_per_address = max_per_address
        self.max_connections_per_ip = max_connections_per_ip
        self._tokens = 0
        self._starting: dict[int, str] = {}
        self._open: dict[int, str] = {}
        self._starting_from: Counter[str] = Counter()
        self._open_from: Counter[str] = Counter()

    def begin(self, address: str, roll: float) -> Admission:
        """Ask for a place for a connection from the IP `address`; "" is one without.

        `roll` is a random number in [0, 1), for early drop. The token of an admission must be
        given to `end` when the connection is closed. Raises `ValueError` for what is no address.
        """
        source = source_of(address)
        refusal = self._refusal(source, roll)
        if refusal is not None:
            return Admission(refusal=refusal)
        self._tokens += 1
        self._starting[self._tokens] = self._open[self._tokens] = source
        self._starting_from[source] += 1
        self._open_from[source] += 1
        return Admission(token=self._tokens)

    def authenticated(self, token: int) -> None:
        """Note that a connection is no longer a stranger's; a second time changes nothing."""
        _give_back(token, self._starting, self._starting_from)

    def end(self, token: int) -> None:
        """Note that a connection is closed; a second time changes nothing."""
        self.authenticated(token)
        _give_back(token, self._open, self._open_from)

    def _refusal(self, source: str, roll: float) -> StartupRefusal | None:
        if source and 0 < self.max_connections_per_ip <= self._open_from[source]:
            return StartupRefusal.TOO_MANY_CONNECTIONS
        if 0 < self.max_startups <= len(self._starting):
            return StartupRefusal.FULL
        if 0 < self.max_per_address <= self._starting_from[source]:
            return StartupRefusal.ADDRESS_FULL
        return StartupRefusal.EARLY_DROP if roll < self._drop_probability() else None

    def _drop_probability(self) -> float:
        start = self.max_startups * EARLY_DROP_START
        if not 0 < start <= len(self._starting):
            return 0.0
        filled = (len(self._starting) - start) / (self.max_startups - start)
        return EARLY_DROP_RATE + (1 - EARLY_DROP_RATE) * filled

    def __repr__(self) -> str:
        return f"<StartupLimits {len(self._starting)} starting, {len(self._open)} open>"


def source_of(address: str) -> str:
    """Return whom an IP address stands for: itself, or for IPv6 its /64; `ValueError`.

    "" is the source of all that have no address.
    """
    if not address:
        return ""
    ip = parse_address(address)
    if ip.version == 4:
        return str(ip)
    return str(ipaddress.IPv6Network((ip, _IPV6_PREFIX), strict=False))


def _give_back(token: int, sources: dict[int, str], counter: Counter[str]) -> None:
    source = sources.pop(token, None)
    if source is not None:
        counter[source] -= 1
        if not counter[source]:
            del counter[source]
