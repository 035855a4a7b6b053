"""One peer, from hello to goodbye: the decisions of one connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from wraith.dialing.base import Attempt, Outcome
from wraith.errors import ChannelRefused, Refusal
from wraith.policy.identity import Denied, Grant
from wraith.policy.keys import CertificateFacts
from wraith.policy.penalties import Offence
from wraith.protocol.capabilities import UDP
from wraith.server import audit
from wraith.server.channel_router import ChannelRouter
from wraith.server.datagrams import DATAGRAMS, Associations
from wraith.server.remote_listeners import ForwardListener
from wraith.server.services import ServicePeer
from wraith.ssh.server_session import Offer, ServerSession
from wraith.transports.base import PeerInfo
from wraith.values.address import Destination, HostPort, TcpDestination, UnixPath

if TYPE_CHECKING:
    from wraith.server.serve import Server


class PeerSession:
    """The delegate of one SSH connection; also the holder of its remote forwards."""

    def __init__(self, server: Server, info: PeerInfo, token: int) -> None:
        self._server = server
        self._info = info
        self._token = token
        self._began = asyncio.get_running_loop().time()
        self._grant: Grant | None = None
        self._router: ChannelRouter | None = None
        self._capabilities: frozenset[str] = frozenset()
        self._associations: Associations
        self._service_peer: ServicePeer
        self._attempts = 0
        self.session: ServerSession | None = None
        self.abort: Callable[[], None] = lambda: None
        """Ends the connection without a word; set when there is one."""

    def __repr__(self) -> str:
        state = "authenticated" if self.session is not None else "unauthenticated"
        return f"<PeerSession {self._info.address or '-'} {state}>"

    # Who may enter

    @property
    def address(self) -> str:
        """Where the peer comes from."""
        return self._info.address

    @property
    def channel_count(self) -> int:
        """Channels open now."""
        return self.session.channel_count if self.session is not None else 0

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent, as far as they are counted."""
        return self.session.traffic if self.session is not None else (0, 0)

    def offered(self, user: str, offer: Offer) -> Grant | None:
        """As `ServerDelegate.offered`."""
        decision = self._decide(user, offer)
        if isinstance(decision, Denied):
            self._rejected(user, offer, decision.reason)
            return None
        return decision

    def _decide(self, user: str, offer: Offer) -> Grant | Denied:
        identities = self._server.identities.current()
        now, address = time.time(), self._info.address
        if isinstance(offer, CertificateFacts):
            return identities.decide_certificate(offer, user=user, address=address, now=now)
        return identities.decide_key(offer, user=user, address=address, now=now)

    def proven(self, user: str, offer: Offer) -> bool:
        """As `ServerDelegate.proven`."""
        decision = self._decide(user, offer)
        if isinstance(decision, Denied):  # withdrawn since it was offered
            self._rejected(user, offer, decision.reason)
            return False
        audit.auth_accepted(self._info, user, offer)
        self._server.counts.authentications["accept"] += 1
        self._grant = decision
        self._router = ChannelRouter(
            lambda: self._server.rules,
            decision,
            self._server.options.connect_timeout,
            self._open_service,
            self._server.proxied,
            self._server.lookups,
        )
        self._capabilities = self._server.capabilities()
        self._associations = Associations(self._router, self._server.lookups)
        self._service_peer = ServicePeer(
            user, decision.fingerprint, decision.principals, self._info.transport, self.address
        )
        return True

    def _open_service(self, destination: TcpDestination) -> asyncio.Protocol:
        """What answers to a reserved name; datagrams are held against the policy of the session."""
        if destination.host.lower() == DATAGRAMS:
            if UDP not in self._capabilities:
                raise ChannelRefused(Refusal.UNSUPPORTED)
            return self._associations.begin()
        return self._server.services.open(destination, self._service_peer)

    def disproven(self, user: str, offer: Offer) -> None:
        """As `ServerDelegate.disproven`."""
        self._rejected(user, offer, "bad-signature")

    def other_method(self, user: str) -> None:
        """As `ServerDelegate.other_method`."""
        self._rejected(user, None, "method-not-allowed")

    def _rejected(self, user: str, offer: Offer | None, reason: str) -> None:
        self._attempts += 1
        audit.auth_rejected(self._info, user, offer, reason)
        self._server.counts.authentications[reason] += 1

    def session_began(self, session: ServerSession) -> None:
        """As `ServerDelegate.session_began`."""
        self.session = session
        self._server.authenticated(self._token)

    # Where they may go

    def capabilities(self) -> frozenset[str]:
        """As `ServerDelegate.capabilities`."""
        return self._capabilities

    async def open(self, destination: Destination) -> asyncio.Protocol:
        """As `ServerDelegate.open`."""
        if self._router is None:
            raise ChannelRefused(Refusal.PROHIBITED)
        try:
            protocol = await self._router.open(destination)
        except ChannelRefused as error:
            self._channel(error.reason)
            raise
        self._channel("open")
        return protocol

    def _channel(self, result: str) -> None:
        """A channel was asked for, and this became of it."""
        audit.channel(self._info, result)
        if self._server.counts_channels:
            self._server.counts.channels[result] += 1

    def connect(self, destination: Destination, outcome: Outcome) -> Attempt | None:
        """As `ServerDelegate.connect`."""
        if self._router is None:
            outcome.failed(Refusal.PROHIBITED)
            return None
        if audit.shows_channels() or self._server.counts_channels:
            outcome = _Audited(self._channel, outcome)
        return self._router.connect(destination, outcome)

    async def listen(self, address: HostPort | UnixPath) -> ForwardListener | None:
        """As `ServerDelegate.listen`."""
        listener = None
        if self._router is not None and self._router.may_listen(address):
            listener = await self._server.remote_listeners.listen(self, address)
        audit.remote_forward(self._info, granted=listener is not None)
        return listener

    # As the holder of remote forwards

    @property
    def fingerprint(self) -> str:
        """Of the key that authenticated the peer."""
        return self._grant.fingerprint if self._grant is not None else ""

    async def answers(self, timeout: float) -> bool:
        """Whether the peer is still there."""
        return self.session is not None and await self.session.answers(timeout)

    async def open_forwarded(
        self, listen: HostPort | UnixPath, origin: HostPort, protocol: asyncio.Protocol
    ) -> asyncio.Transport:
        """Open a channel for a connection to a remote forward."""
        if self.session is None:
            raise ChannelRefused(Refusal.FAILED)
        return await self.session.open_forwarded(listen, origin, protocol)

    # Goodbye

    def connection_lost(self, error: Exception | None) -> None:
        """As `ServerDelegate.connection_lost`."""
        duration = asyncio.get_running_loop().time() - self._began
        audit.connection_closed(self._info, duration)
        self._server.ended(self, self._token, self._offence(duration))

    def _offence(self, duration: float) -> Offence | None:
        """What OpenSSH's PerSourcePenalties would hold against the address (sshd_config(5))."""
        if self.session is not None:
            return None
        if self._attempts:
            return Offence.AUTH_FAILED
        if duration >= self._server.options.login_grace:
            return Offence.GRACE_EXCEEDED
        return Offence.NO_AUTH


class _Audited:
    """An outcome that is logged on its way, where the level asks for it."""

    def __init__(self, tell: Callable[[str], None], outcome: Outcome) -> None:
        self._tell = tell
        self._outcome = outcome

    def connected(self, sock: socket.socket) -> None:
        self._tell("open")
        self._outcome.connected(sock)

    def failed(self, reason: Refusal) -> None:
        self._tell(reason)
        self._outcome.failed(reason)
