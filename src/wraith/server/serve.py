"""The public entry: `wraith.serve` accepts, drains and stops."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from types import TracebackType
from typing import Self

from wraith._version import __version__
from wraith.dialing.lookups import Lookups
from wraith.dialing.proxied import ProxiedDialer
from wraith.dialing.via_proxy import ViaProxy
from wraith.policy.penalties import Offence
from wraith.protocol import capabilities
from wraith.pubsub.bus import Bus
from wraith.server import audit
from wraith.server.admissions import Admissions, LocalAdmissions
from wraith.server.counts import Counts
from wraith.server.identity_store import IdentityStore
from wraith.server.metrics import Metrics, start_metrics
from wraith.server.options import ServeOptions
from wraith.server.proxy_watch import ProxyWatch
from wraith.server.remote_listeners import RemoteListeners
from wraith.server.services import Services
from wraith.server.session import PeerSession
from wraith.server.siblings import Siblings
from wraith.ssh.keys import PrivateKey, load_private_key, read_or_create_host_key
from wraith.ssh.server_session import ServerSettings, serve_ssh, server_settings
from wraith.state.folder import state_dir
from wraith.streams import datagram_socket
from wraith.streams.tasks import TaskSet
from wraith.transports.base import Acceptor, PeerInfo
from wraith.values.address import HostPort

VERSION = f"Wraith_{__version__}"
DRAIN = 2.0
"""Seconds that open channels get when the server stops."""

GOODBYE = 1.0
"""Seconds in which a peer must take our goodbye."""


class Server:
    """An SSH server that lets people out.

    Made by `wraith.serve`; an async context manager. Inside the context it accepts. With `siblings`
    it is one of several processes that serve together.
    """

    def __init__(self, options: ServeOptions, siblings: Siblings | None = None) -> None:
        self.options = options
        self.rules = options.access_rules()
        self.proxied = _proxied(options)
        self.identities = IdentityStore(options)
        self.bus = Bus(
            may=options.bus_may,
            backend=options.bus_backend() if siblings is None else siblings.bus_backend,
            max_frame=options.bus_max_frame,
            mark=siblings.mark if siblings is not None else "",
        )
        """The event bus behind `wraith-control`; this program publishes and listens here."""
        self.services = Services(options.services, self.bus)
        self._tasks = TaskSet("server")
        self.remote_listeners = RemoteListeners(
            options.remote_forward_scope(),
            self._tasks,
            siblings.vacate if siblings is not None else None,
        )
        self.lookups = Lookups()
        self.version = __version__
        self.counts: Counts = Counts()
        self.metrics: Metrics | None = None
        self._acceptors: list[Acceptor] = []
        self._peers: set[PeerSession] = set()
        self.admissions: Admissions = (
            LocalAdmissions(options, self.counts) if siblings is None else siblings.admissions
        )
        self._host_key: PrivateKey
        self.host_key_created = False
        self._closing = False

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open" if self._acceptors else "new"
        where = " ".join(self.listen_addresses)
        return f"<wraith.Server {state} {where} sessions={len(self._peers)}>"

    @property
    def listen_addresses(self) -> tuple[str, ...]:
        """The addresses really bound, in URL form."""
        return tuple(url for acceptor in self._acceptors for url in acceptor.addresses)

    @property
    def invitations(self) -> tuple[tuple[str, ...], ...]:
        """The options with which `wraith connect` comes here, for each way that there is."""
        invitations = (acceptor.invitation for acceptor in self._acceptors)
        return tuple(options for options in invitations if options)

    @property
    def notes(self) -> dict[str, str]:
        """What else its listeners have to say, such as the fingerprint of a certificate."""
        return {name: text for item in self._acceptors for name, text in item.notes.items()}

    @property
    def host_key_fingerprint(self) -> str:
        """The host key's fingerprint, `SHA256:…`, for `--host-key` on the other side."""
        return self._host_key.public.fingerprint

    @property
    def host_key_line(self) -> str:
        """The host key as a public key line, for a known_hosts file."""
        return self._host_key.public.line()

    @property
    def session_count(self) -> int:
        """Connections now open, authenticated or not."""
        return len(self._peers)

    @property
    def stranger_count(self) -> int:
        """Those of them that have not authenticated."""
        return sum(peer.session is None for peer in self._peers)

    @property
    def channel_count(self) -> int:
        """Channels open in all sessions."""
        return sum(peer.channel_count for peer in self._peers)

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent by all sessions so far."""
        live = [peer.traffic for peer in self._peers]
        return (
            self.counts.bytes_in + sum(came for came, _ in live),
            self.counts.bytes_out + sum(went for _, went in live),
        )

    @property
    def counts_channels(self) -> bool:
        """Whether somebody wants to know what became of each channel."""
        return self.metrics is not None

    @property
    def metrics_address(self) -> HostPort | None:
        """Where the metrics are, if they are shown."""
        return self.metrics.address if self.metrics is not None else None

    # Life

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close(drain=0)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Read the keys and begin to accept.

        Raises `UsageError`, `IdentityError` or `ListenError`; then nothing is left open.
        """
        self.identities.load()
        self._host_key, self.host_key_created = host_key_of(self.options)
        self._settings = self._make_settings()
        self.bus.start()
        metrics_address = self.options.metrics_address()
        if metrics_address is not None:
            self.metrics = await start_metrics(self, metrics_address)
        await self._begin_to_accept()

    async def _begin_to_accept(self) -> None:
        for acceptor in self.options.acceptors():
            self._acceptors.append(acceptor)
            await acceptor.start(self._accept)

    def _make_settings(self) -> ServerSettings:
        options = self.options
        return server_settings(
            self._host_key,
            version=VERSION,
            login_grace=options.login_grace,
            keepalive=options.keepalive,
            max_auth_attempts=options.max_auth_attempts,
            max_channels=options.max_channels,
            rekey_bytes=options.rekey_bytes,
        )

    def reload(self, options: ServeOptions | None = None) -> None:
        """Read keys and certificates again; what is bad keeps its old value and is reported.

        With `options`, the rules and limits are theirs from now on: rules and limits on connections
        for everybody; what is agreed at log-in, and the proxy, for new sessions. Where the server
        listens, its host key and its services stay as they are.
        """
        self.identities.reload(options)
        for acceptor in self._acceptors:
            acceptor.reload(options or self.options)
        if options is None:
            return
        self.options = dataclasses.replace(options, listen=self.options.listen)
        self.rules = options.access_rules()
        self.proxied = _proxied(options)
        self.remote_listeners.scope = options.remote_forward_scope()
        self.admissions.reload(options)
        self._settings = self._make_settings()

    async def close(self, drain: float = DRAIN) -> None:
        """Stop accepting, give open channels `drain` seconds, and say goodbye to every session."""
        try:
            await self._close(drain)
        finally:
            for acceptor in self._acceptors:
                await acceptor.wait_closed()

    async def _close(self, drain: float) -> None:
        self._closing = True
        for acceptor in self._acceptors:
            await acceptor.close()
        await self._drain(drain)
        for peer in list(self._peers):
            if peer.session is not None:
                peer.session.disconnect("the server is shutting down")
            else:
                peer.abort()
        await self._part()
        if self.metrics is not None:
            self.metrics.close()
        await self.bus.close()
        await self._tasks.close()

    async def _drain(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while loop.time() < deadline and any(peer.channel_count for peer in self._peers):
            await asyncio.sleep(0.05)

    async def _part(self) -> None:
        """Each peer leaves once it has our goodbye; one that does not take it is cut off."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GOODBYE
        while self._peers:
            await asyncio.sleep(0.01)
            if loop.time() > deadline:
                for peer in list(self._peers):
                    peer.abort()

    # Connections

    def _accept(self, info: PeerInfo) -> asyncio.Protocol | None:
        if self._closing:
            return None
        token = self.admissions.begin(info)
        return self.admit(info, token) if token is not None else None

    def admit(self, info: PeerInfo, token: int) -> asyncio.Protocol:
        """What speaks SSH with a peer that has been given a place."""
        audit.connection_opened(info)
        peer = PeerSession(self, info, token)
        self._peers.add(peer)
        protocol = serve_ssh(self._settings, peer)
        peer.abort = protocol.abort
        return protocol

    def capabilities(self) -> frozenset[str]:
        """What a client is told that this server can do beyond SSH."""
        # Through a proxy datagrams could not go, and around it they must not.
        carries_datagrams = self.proxied is None and datagram_socket.is_possible()
        return frozenset({capabilities.UDP} if carries_datagrams else ())

    def authenticated(self, token: int) -> None:
        """A peer has proved who it is, and no longer counts as a start-up."""
        self.admissions.authenticated(token)

    def ended(self, peer: PeerSession, token: int, offence: Offence | None) -> None:
        """A peer is gone; `offence` is what its address has to answer for."""
        came, went = peer.traffic
        self.counts.bytes_in += came
        self.counts.bytes_out += went
        self._peers.discard(peer)
        self.admissions.end(token, peer.address, offence)


def _proxied(options: ServeOptions) -> ProxiedDialer | None:
    """The way to destinations, where it is not the direct one."""
    proxy = options.proxy_url()
    if proxy is None:
        return None
    return ProxiedDialer(ViaProxy(proxy), options.connect_timeout, ProxyWatch(proxy).note)


def host_key_of(options: ServeOptions) -> tuple[PrivateKey, bool]:
    """The host key that the options name, and whether it was made just now."""
    key = options.key
    if isinstance(key, bytes):
        return load_private_key(key, name="the host key in memory"), False
    path = Path(key).expanduser() if key is not None else state_dir() / "host_ed25519"
    return read_or_create_host_key(path)


def serve(options: ServeOptions) -> Server:
    """A server for these options, to be entered with `async with`.

    Entering raises `UsageError`, `IdentityError` or `ListenError`.
    """
    return Server(options)
