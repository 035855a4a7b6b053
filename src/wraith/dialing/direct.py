"""Dialing from this machine, to addresses that somebody has approved first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Hashable, Iterator

from wraith.dialing.base import Attempt, Outcome
from wraith.dialing.happy_eyeballs import SockAddr, connect_first
from wraith.dialing.lookups import Addresses, Lookups
from wraith.dialing.reasons import refusal_for
from wraith.dialing.short_cut import TaskAttempt, begin
from wraith.errors import ChannelRefused, Refusal
from wraith.streams.socket_stream import open_socket_stream
from wraith.values.address import Destination, TcpDestination, UnixDestination

DEFAULT_TIMEOUT = 10.0  # seconds, for resolving and connecting together

MAX_PORT = 65535

Approve = Callable[[TcpDestination, str], bool]
"""Asked with the destination and each address it resolved to, as text without a zone."""


def approve_all(_destination: TcpDestination, _address: str) -> bool:
    """Approve every address."""
    return True


class DirectDialer:
    """Connects with this machine's own sockets.

    A name is resolved once, each address is put to `approve`, and the connection goes to the very
    addresses that passed: a name that changes its mind in between gains nothing. `timeout` is in
    seconds. `lookups` may be shared with other dialers; each has its turns there.
    """

    def __init__(
        self,
        approve: Approve = approve_all,
        timeout: float = DEFAULT_TIMEOUT,
        lookups: Lookups | None = None,
    ) -> None:
        self._approve = approve
        self._timeout = timeout
        self._lookups = lookups or Lookups()

    def __repr__(self) -> str:
        return f"<DirectDialer timeout={self._timeout}>"

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        """As `Dialer.dial`; refused as `PROHIBITED` when no address passes.

        No exception of the operating system is chained: its text names the destination.
        """
        sock = await self.connect(destination)
        try:
            return await open_socket_stream(sock, protocol)
        except BaseException:
            sock.close()
            raise

    async def connect(self, destination: Destination) -> socket.socket:
        """A connected, non-blocking socket to the destination; refused as by `dial`."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._connect(destination)
        except OSError as error:
            raise ChannelRefused(refusal_for(error)) from None

    def connect_soon(self, destination: Destination, outcome: Outcome) -> Attempt | None:
        """Connect by callback, as `connect` would; None when the outcome has been told already.

        An address or a Unix path takes the short way, a name a task.
        """
        if isinstance(destination, UnixDestination):
            return begin(socket.AF_UNIX, destination.path, outcome, self._timeout)  # type: ignore[arg-type]
        literal = _literal(destination.host, destination.port)
        if literal is None:
            loop = asyncio.get_running_loop()
            task = loop.create_task(self.connect(destination), name="dial a name")
            return TaskAttempt(task, outcome)
        if not self._approve(destination, literal[1][0]):
            outcome.failed(Refusal.PROHIBITED)
            return None
        return begin(*literal, outcome, self._timeout)

    async def _connect(self, destination: Destination) -> socket.socket:
        if isinstance(destination, UnixDestination):
            return await connect_first([(socket.AF_UNIX, destination.path)])  # type: ignore[list-item]
        addresses = await resolve(destination.host, destination.port, self._lookups, self)
        approved = list(self._approved(destination, addresses))
        if not approved:
            raise ChannelRefused(Refusal.PROHIBITED)
        return await connect_first(approved)

    def _approved(
        self,
        destination: TcpDestination,
        addresses: Addresses,
    ) -> Iterator[tuple[socket.AddressFamily, SockAddr]]:
        for family, address in addresses:
            if self._approve(destination, str(address[0]).partition("%")[0]):
                yield family, address


async def resolve(
    host: str, port: int, lookups: Lookups | None = None, owner: Hashable = None
) -> Addresses:
    """The stream addresses of a host, in the system's order of preference.

    A name waits for the owner's turn among the `lookups`; without any, its turn is now. Raises
    `socket.gaierror`, also for a name that cannot be encoded.
    """
    literal = _literal(host, port)
    if literal is not None:
        return [literal]
    if port > MAX_PORT:
        # The resolver would cut it to 16 bits, and the rules were asked about another port.
        raise socket.gaierror(socket.EAI_SERVICE, "no such port")
    return await (lookups or Lookups()).resolve_stream(host, port, owner)


def _literal(host: str, port: int) -> tuple[socket.AddressFamily, SockAddr] | None:
    """An address in its one canonical form needs no resolver, and no thread to call it in."""
    if port > MAX_PORT:
        return None
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family, ((host, port) if family == socket.AF_INET else (host, port, 0, 0))
    return None
