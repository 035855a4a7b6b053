"""The server's side: strangers begin connections, and some of them mean it.

Anybody may send to the socket. What is no QUIC never reaches us. Each connection that begins has a
task of its own, with a limit on its handshake; the number of handshakes is bounded, in all and for
each address, and beyond a few an address must first prove that it is no forgery (RFC 9000 section
8.1.2). After the handshake the server judges the peer as it does over TCP, by `accept`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wraith.errors import ListenError
from wraith.policy.limits import StartupLimits
from wraith.streams.log_line import log_event
from wraith.streams.tasks import TaskSet
from wraith.transports.base import Accept, PeerInfo, ServeSettings
from wraith.transports.iroh.binding import is_its_error, load, reason_of, text_of
from wraith.transports.iroh.endpoint import (
    LOOPBACK_ANY,
    Endpoint,
    EndpointSettings,
    hang_up,
    open_endpoint,
)
from wraith.transports.iroh.key import read_or_make_key
from wraith.transports.iroh.stream import IrohStream
from wraith.transports.proxy_header import plain_address
from wraith.values.address import ListenAddress
from wraith.values.host_text import bracketed, is_ipv6
from wraith.values.iroh_peer import IrohPeer, RelayChoice, ticket

_log = logging.getLogger("wraith.transport")

HANDSHAKE_TIMEOUT = 10.0
"""Seconds for the handshake, and again for the first stream."""

MAX_HANDSHAKES = 256
MAX_HANDSHAKES_PER_ADDRESS = 20
"""Handshakes under way at a time, in all and from one address (IPv6: one /64)."""

RETRY_ABOVE = 32
"""With more handshakes than this under way, an address has to prove itself first."""

RELAY_PATIENCE = 5.0
"""Seconds to wait at the start for a relay, so that the ticket names it."""

NO_ADDRESS = "::"
"""Where a handshake comes from that a relay brings, for the books: all of them count as one."""


class IrohAcceptor:
    """Accepts the streams of peers, whatever way they find to us.

    It listens on one address, on one of each family, or (an empty host) on every interface. The
    key file holds the identity, and is made on first use.
    """

    def __init__(self, listen: Sequence[ListenAddress], relay: RelayChoice, key: Path) -> None:
        self._listen = listen
        self._relay = relay
        self._key = key
        self._endpoint: Endpoint | None = None
        self._accepting = TaskSet("iroh acceptor")
        self._handshakes = StartupLimits(MAX_HANDSHAKES, MAX_HANDSHAKES_PER_ADDRESS)
        self._under_way = 0

    def __repr__(self) -> str:
        return f"<IrohAcceptor {' '.join(self.addresses) or self._wanted}>"

    @property
    def _wanted(self) -> str:
        return " ".join(map(str, self._listen))

    @property
    def addresses(self) -> tuple[str, ...]:
        """The id, and the UDP addresses really bound: `iroh://ID@0.0.0.0:4433`."""
        if self._endpoint is None:
            return ()
        bound = self._endpoint.bound_addresses
        return tuple(f"iroh://{self._endpoint.id}@{address}" for address in bound)

    @property
    def peer(self) -> IrohPeer:
        """How others reach us, as far as it is known by now."""
        assert self._endpoint is not None
        return self._endpoint.peer()

    @property
    def ticket(self) -> str:
        """The same in one word, for `--peer` on the other side."""
        return ticket(self.peer)

    @property
    def invitation(self) -> tuple[str, ...]:
        """As `Acceptor.invitation`."""
        options = ("--transport", "iroh", "--peer", self.ticket)
        return options if self._relay.public else (*options, "--iroh-relay", str(self._relay))

    @property
    def notes(self) -> Mapping[str, str]:
        """As `Acceptor.notes`."""
        return {"iroh id": self.peer.id, "iroh ticket": self.ticket}

    async def start(self, accept: Accept) -> None:
        """Bind and begin to accept; waits a few seconds for a relay, and goes on without one."""
        load()
        settings = EndpointSettings(
            self._relay, read_or_make_key(self._key), self._bind(), accepts=True
        )
        try:
            self._endpoint = await open_endpoint(settings)
        except Exception as error:
            if not is_its_error(error):
                raise
            raise ListenError(
                f"{self._wanted} cannot be bound: {reason_of(text_of(error)).lower()}",
                hint="choose another UDP port, for example --listen iroh://0.0.0.0:4433",
            ) from None
        self._accepting.spawn(self._accept_all(self._endpoint, accept), "accept")
        if not self._relay.is_disabled and not await self._endpoint.wait_for_relay(RELAY_PATIENCE):
            log_event(_log, logging.WARNING, "no iroh relay reached", relay=self._relay)

    def _bind(self) -> list[str]:
        """What to bind: both families, and the one that was not asked for on loopback only."""
        host, port = self._listen[0].host, self._listen[0].port
        if not host:
            return [f"0.0.0.0:{port}", f"[::]:{port}"] if port else []
        asked = [f"{bracketed(address.host)}:{address.port}" for address in self._listen]
        if len(asked) == 1:
            asked.append(LOOPBACK_ANY[4 if is_ipv6(host) else 6])
        return asked

    async def _accept_all(self, endpoint: Endpoint, accept: Accept) -> None:
        while (incoming := await endpoint.next_incoming()) is not None:
            self._accepting.spawn(self._begin(incoming, endpoint, accept), "handshake")

    async def _begin(self, incoming: Any, endpoint: Endpoint, accept: Accept) -> None:
        """One connection, from its first packet to the stream; what fails here fails alone."""
        with contextlib.suppress(TimeoutError):
            try:
                address = await _address_of(incoming)
                connection = await self._handshake(incoming, address, endpoint)
            except Exception as error:
                if not is_its_error(error):
                    raise
                return  # it gave up, or speaks another protocol
            if connection is not None:
                _join(connection, address, endpoint, accept)

    async def _handshake(self, incoming: Any, address: str, endpoint: Endpoint) -> Any | None:
        if self._under_way >= RETRY_ABOVE and address and not await _is_proven(incoming):
            await incoming.retry()
            return None
        admission = self._handshakes.begin(address or NO_ADDRESS, roll=1.0)
        if admission.token is None:
            await incoming.refuse()
            return None
        self._under_way += 1
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                connecting = await endpoint.made_by(incoming.accept())
                return await endpoint.made_by(connecting.connect(), hang_up)
        finally:
            self._under_way -= 1
            self._handshakes.end(admission.token)

    def reload(self, settings: ServeSettings) -> None:
        """As `Acceptor.reload`; the identity stays what it is."""

    async def close(self) -> None:
        """Stop accepting; streams already accepted live on, and with them the socket."""
        await self._accepting.close()

    async def wait_closed(self) -> None:
        """As `Acceptor.wait_closed`."""
        await self._accepting.close()
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            await endpoint.close()


def _join(connection: Any, address: str, endpoint: Endpoint, accept: Accept) -> None:
    """Hand the stream, which the peer has yet to open, to the protocol that the server chose."""
    try:
        protocol = accept(PeerInfo("iroh", address, str(connection.remote_id())))
        if protocol is not None:
            IrohStream.accepted(connection, protocol, endpoint.streams, HANDSHAKE_TIMEOUT)
            return
    except BaseException:
        hang_up(connection)
        raise
    hang_up(connection)


async def _address_of(incoming: Any) -> str:
    """Where the first packet came from; "" where a relay brought it."""
    where = await incoming.remote_addr()
    if not where.is_ip():
        return ""
    return plain_address(where.addr.rpartition(":")[0].strip("[]"))


async def _is_proven(incoming: Any) -> bool:
    return bool(await incoming.remote_addr_validated())
