"""What the server answers itself: the reserved names, and who asks for them.

A service is made for each channel, by a factory that is told who is at the other end. Policy has
said yes by then: rules and `permitopen` are asked about a reserved name like about any other.

    options = ServeOptions(services={"wraith-hello": lambda peer: Hello(peer)}, …)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from wraith.errors import ChannelRefused, Refusal, UsageError
from wraith.pubsub.bus import Bus
from wraith.pubsub.bus_channel import BusChannel
from wraith.server.echo import EchoService
from wraith.streams.log_line import log_event
from wraith.values.address import RESERVED_PREFIX, TcpDestination
from wraith.values.host_text import TextError, checked_host

_log = logging.getLogger("wraith.server")


@dataclass(frozen=True, slots=True)
class ServicePeer:
    """Who opened a channel to a service."""

    user: str
    """The name that the client chose. It proves nothing: decide by the others."""

    fingerprint: str
    """Of the key that authenticated the session, `SHA256:…`."""

    principals: tuple[str, ...]
    """What the client's certificate proves; a plain key proves none."""

    transport: str
    """The name of the transport that the session came over, such as `tcp`."""

    address: str
    """Where it came from, as text and without a port; "" where the medium has no addresses."""


Service: TypeAlias = Callable[[ServicePeer], asyncio.Protocol]
"""Makes the protocol that answers one channel, which is its stream from then on.

Called in the event loop, and must not block. It may raise `ChannelRefused`.
"""

ECHO = "wraith-echo"
CONTROL = "wraith-control"


class Services:
    """The services of one server, by their names.

    Those that every server has, and `own`, which may take the place of the former. Raises
    `UsageError` for a name that is not a reserved one.
    """

    def __init__(self, own: Mapping[str, Service], bus: Bus) -> None:
        self._services: dict[str, Service] = {
            ECHO: lambda _peer: EchoService(),
            CONTROL: lambda peer: BusChannel(bus, peer),
            **{checked_name(name): make for name, make in own.items()},
        }

    def __repr__(self) -> str:
        return f"<Services {' '.join(sorted(self._services))}>"

    def open(self, destination: TcpDestination, peer: ServicePeer) -> asyncio.Protocol:
        """The protocol for a channel to a reserved name; the port says nothing.

        Raises `ChannelRefused` where nothing answers to the name, or the service fails to start:
        that is the channel's misfortune, and not the session's.
        """
        service = self._services.get(destination.host.lower())
        if service is None:
            raise ChannelRefused(Refusal.PROHIBITED)
        try:
            return service(peer)
        except ChannelRefused:
            raise
        except Exception as error:
            log_event(_log, logging.ERROR, "a service failed", error=type(error).__name__)
            raise ChannelRefused(Refusal.FAILED) from None


def checked_name(name: str) -> str:
    """Return the name of a service in lower case. Raises `UsageError` if it is not reserved."""
    try:
        checked = checked_host(name).lower()
    except TextError as error:
        raise UsageError(f"no service can be called {name!r}: {error}") from None
    if not checked.startswith(RESERVED_PREFIX) or checked == RESERVED_PREFIX:
        raise UsageError(
            f"no service can be called {name!r}",
            hint=f"names that the server answers itself begin with {RESERVED_PREFIX!r}",
        )
    return checked
