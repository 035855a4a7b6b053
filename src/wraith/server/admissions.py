"""Who gets a place before a byte is read, and who gives one back.

The books are kept in one process: the server's own, or the parent of its workers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from typing import Protocol

from wraith.policy.limits import StartupLimits
from wraith.policy.penalties import Offence, Penalties
from wraith.server import audit
from wraith.server.counts import Counts
from wraith.server.options import ServeOptions
from wraith.transports.base import PeerInfo

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Admissions(Protocol):
    """What a server asks and tells about the places of its peers."""

    def begin(self, info: PeerInfo) -> int | None:
        """A token for a peer that has come; None turns it away, and has been logged."""
        ...

    def authenticated(self, token: int) -> None:
        """The peer has proved who it is, and no longer counts as a start-up."""
        ...

    def end(self, token: int, address: str, offence: Offence | None) -> None:
        """The peer is gone; `offence` is what its address has to answer for."""
        ...

    def reload(self, options: ServeOptions) -> None:
        """Go by the limits of these options from now on."""
        ...


class LocalAdmissions:
    """The books, kept here."""

    def __init__(self, options: ServeOptions, counts: Counts) -> None:
        self._counts = counts
        self._startups = StartupLimits(
            options.max_startups, options.max_startups_per_ip, options.max_connections_per_ip
        )
        # Behind a forwarder on this machine everybody comes from loopback: there one guilty
        # client would shut out all the others.
        self._penalties = Penalties(exempt=LOOPBACK)

    def __repr__(self) -> str:
        return f"<LocalAdmissions {self._startups}>"

    def begin(self, info: PeerInfo) -> int | None:
        """As `Admissions.begin`."""
        if self._penalties.refused_for(info.address, _now()) > 0:
            self._refuse(info, "penalty")
            return None
        admission = self._startups.begin(info.address, random.random())  # noqa: S311 - early drop
        if admission.token is None:
            self._refuse(info, admission.refusal or "")
            return None
        self._counts.connections["accepted"] += 1
        return admission.token

    def _refuse(self, info: PeerInfo, reason: str) -> None:
        audit.connection_refused(info, reason)
        self._counts.connections[reason] += 1

    def authenticated(self, token: int) -> None:
        """As `Admissions.authenticated`."""
        self._startups.authenticated(token)

    def end(self, token: int, address: str, offence: Offence | None) -> None:
        """As `Admissions.end`."""
        self._startups.end(token)
        if offence is not None:
            self._penalties.penalise(address, offence, _now())

    def reload(self, options: ServeOptions) -> None:
        """As `Admissions.reload`."""
        self._startups.max_startups = options.max_startups
        self._startups.max_per_address = options.max_startups_per_ip
        self._startups.max_connections_per_ip = options.max_connections_per_ip


def _now() -> float:
    return asyncio.get_running_loop().time()
