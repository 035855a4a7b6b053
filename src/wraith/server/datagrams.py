"""The reserved service `wraith-udp`: datagrams out of one channel, and back into it.

A channel is an association: one socket for each address family, kept while somebody is being
written to, and closed with the channel. Each datagram is held against the same rules as a
connection; what they do not allow, and what cannot be sent, is dropped without a word, as UDP does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from typing import Protocol

from wraith.dialing.lookups import Addresses, Lookups
from wraith.errors import ChannelRefused, Refusal
from wraith.policy.access import AccessRules
from wraith.policy.datagram_routes import IDLE, DatagramRoutes
from wraith.protocol.datagrams import FrameReader, decode_address, frames, split
from wraith.protocol.socks5.messages import MessageError
from wraith.streams.datagram_socket import DatagramSocket, Received, SocketAddress
from wraith.values.address import Destination, TcpDestination

DATAGRAMS = "wraith-udp"
"""The reserved name that opens an association."""

MOST_ASSOCIATIONS = 512
"""Associations of one session."""

QUEUE = 64 * 1024
"""Bytes that may wait for the client; meanwhile the sockets are not read."""

MOST_WAITING = 64 * 1024
"""Bytes that may wait for one name to be resolved."""

SWEEP = 15.0
"""Seconds between two looks for routes that nobody uses any more."""


class Policy(Protocol):
    """Where the peer may go."""

    @property
    def rules(self) -> Callable[[], AccessRules]:
        """The rules in force; others when they were reloaded."""
        ...

    def may_try(self, destination: Destination) -> bool:
        """What can be said before a name is resolved."""
        ...

    def approve(self, destination: TcpDestination, address: str) -> bool:
        """What is to be said about an address that it resolved to."""
        ...


class Associations:
    """The associations of one session, and what they share."""

    def __init__(self, policy: Policy, lookups: Lookups) -> None:
        self.policy = policy
        self._lookups = lookups
        self._open: set[Association] = set()

    def __repr__(self) -> str:
        return f"<Associations {len(self._open)}>"

    def begin(self) -> Association:
        """One more, as the protocol of its channel; refused where there are too many."""
        if len(self._open) >= MOST_ASSOCIATIONS:
            raise ChannelRefused(Refusal.RESOURCE_SHORTAGE)
        association = Association(self)
        self._open.add(association)
        return association

    def ended(self, association: Association) -> None:
        """One less."""
        self._open.discard(association)

    async def resolve(self, destination: TcpDestination) -> Addresses:
        """As `Lookups.resolve`; the session counts as one owner."""
        return await self._lookups.resolve(destination.host, destination.port, self)


class Association(asyncio.Protocol):
    """The protocol of one such channel."""

    def __init__(self, session: Associations) -> None:
        self._session = session
        self._policy = session.policy
        self._rules = self._policy.rules()
        self._loop = asyncio.get_running_loop()
        self._channel: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._routes: DatagramRoutes[SocketAddress] = DatagramRoutes()
        self._sockets: dict[socket.AddressFamily, DatagramSocket] = {}
        self._waiting: dict[bytes, list[bytes]] = {}
        self._lookups: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._full = False

    def __repr__(self) -> str:
        return f"<Association routes={len(self._routes)} sockets={len(self._sockets)}>"

    # The channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._channel = transport
        transport.set_write_buffer_limits(QUEUE)

    def data_received(self, data: bytes) -> None:
        """Send on what is whole. A client that writes nonsense has lost its association."""
        try:
            for parcel in self._reader.receive_data(data):
                self._forward(*split(parcel))
        except MessageError:
            if self._channel is not None:
                self._channel.abort()

    def eof_received(self) -> bool:
        """The client has said all: nothing can be answered any more."""
        return False

    def pause_writing(self) -> None:
        """The client does not take what comes: leave it to the kernel, and to its limit."""
        self._full = True
        for sock in self._sockets.values():
            sock.pause()

    def resume_writing(self) -> None:
        """It does again."""
        self._full = False
        for sock in self._sockets.values():
            sock.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone, and with it all that it had."""
        self._channel = None
        self._session.ended(self)
        if self._sweep is not None:
            self._sweep.cancel()
        for task in self._lookups:
            task.cancel()
        self._close_sockets()

    # Out

    def _forward(self, written: bytes, payload: bytes) -> None:
        self._heed_new_rules()
        partner = self._routes.find(written, self._loop.time())
        if partner is not None:
            with contextlib.suppress(OSError):
                self._send(payload, partner)
        elif written in self._waiting:
            self._wait(written, payload)
        else:
            self._begin(written, payload)

    def _begin(self, written: bytes, payload: bytes) -> None:
        """The first datagram to a partner, at least for a while."""
        try:
            destination = decode_address(written)
        except MessageError:
            return
        if destination.is_reserved or not self._policy.may_try(destination):
            return
        address = _literal(destination)
        if address is not None:
            self._try([address], written, destination, [payload])
            return
        self._waiting[written] = [payload]
        work = self._resolve(written, destination)
        task = self._loop.create_task(work, name="resolve a name for datagrams")
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    def _wait(self, written: bytes, payload: bytes) -> None:
        waiting = self._waiting[written]
        if sum(map(len, waiting)) + len(payload) <= MOST_WAITING:
            waiting.append(payload)

    async def _resolve(self, written: bytes, destination: TcpDestination) -> None:
        try:
            found = await self._session.resolve(destination)
        except ChannelRefused:
            found = []
        finally:
            waiting = self._waiting.pop(written)
        self._try([address for _, address in found], written, destination, waiting)

    def _try(
        self,
        addresses: list[SocketAddress],
        written: bytes,
        destination: TcpDestination,
        payloads: list[bytes],
    ) -> None:
        """Send to the first of the addresses that policy approves and the system can reach."""
        for address in addresses:
            if not self._may_reach(destination, address):
                continue
            try:
                for payload in payloads:
                    self._send(payload, address)
            except OSError:
                continue
            self._routes.add(written, address, self._loop.time())
            self._sweep_later()
            return

    def _may_reach(self, destination: TcpDestination, address: SocketAddress) -> bool:
        host = str(address[0]).partition("%")[0]
        # A datagram to a group reaches many at once, and no answer could be let in.
        if ipaddress.ip_address(host).is_multicast:
            return False
        return self._policy.approve(destination, host)

    def _send(self, payload: bytes, address: SocketAddress) -> None:
        family = socket.AF_INET if len(address) == 2 else socket.AF_INET6
        sock = self._sockets.get(family)
        if sock is None:
            sock = self._sockets[family] = self._new_socket(family)
        sock.send(payload, address)

    def _new_socket(self, family: socket.AddressFamily) -> DatagramSocket:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        datagrams = DatagramSocket(sock, self._received)
        if self._full:
            datagrams.pause()
        return datagrams

    # Back

    def _received(self, received: list[Received]) -> None:
        self._heed_new_rules()
        now, name_of = self._loop.time(), self._routes.name_of
        parcels: list[bytes] = []
        for payload, address in received:
            written = name_of(address, now)
            if written is not None:
                parcels.append(written + payload)
        if parcels and self._channel is not None:
            self._channel.write(frames(parcels))

    # What is forgotten

    def _heed_new_rules(self) -> None:
        rules = self._policy.rules()
        if rules is not self._rules:
            self._rules = rules
            self._routes.clear()

    def _sweep_later(self) -> None:
        if self._sweep is None:
            self._sweep = self._loop.call_later(min(SWEEP, IDLE), self._sweep_now)

    def _sweep_now(self) -> None:
        self._sweep = None
        self._routes.expire(self._loop.time())
        if len(self._routes):
            self._sweep_later()
        else:
            self._close_sockets()

    def _close_sockets(self) -> None:
        while self._sockets:
            self._sockets.popitem()[1].close()


def _literal(destination: TcpDestination) -> SocketAddress | None:
    """The socket address of a host that is one already, in its canonical form."""
    host, port = destination.host, destination.port
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if "%" in host:
        return None  # the system knows the number of a zone
    return (host, port) if version == 4 else (host, port, 0, 0)
