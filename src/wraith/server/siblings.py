"""What a server shares with the others, where several processes serve together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wraith.pubsub.backend import BackendFactory
from wraith.server.admissions import Admissions
from wraith.values.address import HostPort, UnixPath

Vacate = Callable[[str, HostPort | UnixPath], Awaitable[bool]]
"""Ask the others to give a remote forward's address free, if a dead session of the key with this
fingerprint holds it there; whether one did."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """How one of them reaches what is everybody's."""

    admissions: Admissions
    bus_backend: BackendFactory
    mark: str
    """What the bus puts on its events, so that they do not come back to it."""
    vacate: Vacate
