"""The public entry: `wraith.connect` assembles a client from its options."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from wraith._version import __version__
from wraith.client.channel_manager import ChannelManager, Session, State, StateChange
from wraith.client.datagrams import Datagrams
from wraith.client.host_keys import HostKeys
from wraith.client.identities import Identities
from wraith.client.local_connection import ForwardedConnection
from wraith.client.local_port import HANDSHAKE_TIMEOUT, Handshakes, LocalPortConnection
from wraith.client.options import ConnectOptions
from wraith.client.remote_forward import Forward, RemoteForwards
from wraith.client.status import FORWARD, REMOTE, SOCKS5, InterfaceStatus, Status
from wraith.client.wake_watch import watch_for_wake
from wraith.dialing.direct import DirectDialer
from wraith.errors import WraithError
from wraith.policy.reconnect import Reconnect, delays
from wraith.ssh.client_session import ClientSession, SessionSettings, open_session
from wraith.ssh.keys import Identity
from wraith.streams.deadlines import Deadlines
from wraith.streams.listening import Listener, listen
from wraith.streams.log_line import log_event
from wraith.streams.tally import Tally
from wraith.streams.tasks import TaskSet
from wraith.transports.base import PathInfo
from wraith.values.address import Destination, HostPort, TcpDestination, UnixDestination, UnixPath
from wraith.values.forward_spec import RemoteForward, parse_remote_forward

_log = logging.getLogger("wraith.client")

VERSION = f"Wraith_{__version__}"

StreamPair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """A session to one server, restored whenever it dies, and what is offered on top of it.

    Made by `wraith.connect`; an async context manager. Inside the context the local ports are
    bound and, unless `retry_first_attempt` is set, the first session is up.
    """

    def __init__(self, options: ConnectOptions) -> None:
        self._options = options
        self._transport = options.make_transport()
        self._tasks = TaskSet("client")
        self._identities = Identities(options)
        self._host_keys = HostKeys(options)
        self._loaded: list[Identity] = []
        self._listeners: list[Listener] = []
        self._socks5: Listener | None = None
        self._socks5_tally = Tally()
        self._tallies: dict[Listener, Tally] = {}
        self._change = StateChange(State.CONNECTING)
        self._changed_at = time.monotonic()
        self._handshakes: Handshakes = Deadlines(HANDSHAKE_TIMEOUT)
        self._state_listeners: list[Callable[[StateChange], None]] = []
        self._running: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        reconnect = Reconnect(random.random)
        self._manager = ChannelManager(
            self._open_session,
            wait=options.connect_timeout,
            reconnect=reconnect,
            on_session=self._restore,
            on_change=self._changed,
        )
        self._remote_forwards = RemoteForwards(
            DirectDialer(), self._tasks, lambda: delays(random.random)
        )
        for spec in options.parsed_remote_forwards():
            self._remote_forwards.want(spec)

    def __repr__(self) -> str:
        return f"<wraith.Client {self._transport.server} {self.state}>"

    # What it says of itself

    @property
    def server(self) -> str:
        """Whom it connects to, as messages name it."""
        return self._transport.server

    @property
    def state(self) -> State:
        """Where the client stands with its session."""
        return self._manager.state

    @property
    def path(self) -> PathInfo | None:
        """How the bytes of the session travel now: directly or relayed, and how long they take.

        None without a session, and for a transport that does not know.
        """
        session = self._manager.current
        path = session.stream_info("path") if isinstance(session, ClientSession) else None
        return path if isinstance(path, PathInfo) else None

    @property
    def error(self) -> WraithError | None:
        """The error that ended the client for good, if one did."""
        return self._manager.error

    @property
    def socks5_addresses(self) -> tuple[HostPort, ...]:
        """Where the SOCKS5 proxy listens."""
        addresses = self._socks5.addresses if self._socks5 is not None else ()
        return tuple(address for address in addresses if isinstance(address, HostPort))

    @property
    def local_forward_addresses(self) -> tuple[HostPort | UnixPath, ...]:
        """Where each local forward listens, in the order of the options."""
        forwards = self._listeners[1:] if self._socks5 is not None else self._listeners
        return tuple(listener.addresses[0] for listener in forwards)

    @property
    def remote_forward_addresses(self) -> tuple[HostPort | UnixPath | None, ...]:
        """Where each remote forward listens on the server; None for one that is not granted."""
        return tuple(self._remote_forwards.bound)

    def add_state_listener(self, listener: Callable[[StateChange], None]) -> None:
        """Call `listener` at each change of state, from the event loop."""
        self._state_listeners.append(listener)

    def status(self) -> Status:
        """The session and what each interface carries, at this moment."""
        session = self._manager.current
        live = session if isinstance(session, ClientSession) else None
        change, path = self._change, self.path
        known = path or live
        return Status(
            state=self.state,
            since=time.monotonic() - self._changed_at,
            server=self._transport.server,
            transport=self._transport.name,
            path=path.kind if path is not None else "",
            round_trip=known.round_trip if known is not None else None,
            channels=live.channel_count if live is not None else 0,
            reason=change.error.message if live is None and change.error is not None else "",
            retry_in=change.retry_in if self.state is State.WAITING else None,
            interfaces=tuple(self._interfaces()),
        )

    def _interfaces(self) -> Iterator[InterfaceStatus]:
        for listener, tally in self._tallies.items():
            kind = SOCKS5 if listener is self._socks5 else FORWARD
            yield _interface(kind, listener.addresses[0], tally)
        for forward in self._remote_forwards.wanted:
            yield _interface(REMOTE, forward.bound or forward.spec.listen, forward.tally)

    # Life

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
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
        """Load the keys, bind the local ports, and make the first session.

        Raises `IdentityError`, `ListenError` and, unless `retry_first_attempt` is set, whatever
        keeps the first session from being made.
        """
        self._loaded = await self._identities.load()
        self._host_keys.load()
        await self._bind()
        retry_first = self._options.retry_first_attempt
        self._running = self._tasks.spawn(self._run(retry_first), "keep a session")
        self._tasks.spawn(watch_for_wake(self._manager.hurry), "watch for wake-up")
        if not retry_first:
            await self.wait_connected()

    async def _run(self, retry_first: bool) -> None:
        try:
            await self._manager.run(retry_first=retry_first)
        except WraithError:
            self._connected.set()  # told to whoever waits, by `error`

    async def _bind(self) -> None:
        """Bind every local port; a port in use is told before anything else happens."""
        address = self._options.socks5_address()
        if address is not None:
            self._socks5 = await listen(
                address, self._local_port, hint="choose another port with --socks5 ADDR:PORT"
            )
            self._listeners.append(self._socks5)
            self._tallies[self._socks5] = self._socks5_tally
        for spec in self._options.parsed_local_forwards():
            tally = Tally()
            listener = await listen(
                spec.listen,
                functools.partial(self._forwarded, spec.target, tally),
                hint="choose another port for the -L forward",
            )
            self._listeners.append(listener)
            self._tallies[listener] = tally

    def _local_port(self) -> LocalPortConnection:
        credentials = self._options.socks5_credentials()
        return LocalPortConnection(
            self._manager,
            self._tasks,
            credentials,
            self._manager,
            self._handshakes,
            self._manager.open_datagrams,
            self._socks5_tally,
        )

    def _forwarded(self, target: Destination, tally: Tally) -> ForwardedConnection:
        return ForwardedConnection(self._manager, self._tasks, target, self._manager, tally)

    async def wait_connected(self) -> None:
        """Wait for the first session. Raises the error that ended the client before it."""
        await self._connected.wait()
        if self._manager.error is not None:
            raise self._manager.error

    async def wait_closed(self) -> None:
        """Wait until the client has ended. Raises the error that ended it for good, if one did."""
        if self._running is not None:
            await asyncio.wait([self._running])
        if self._manager.error is not None:
            raise self._manager.error

    def hurry(self) -> None:
        """Try at once what would be tried later, or ask the server for a sign of life."""
        self._manager.hurry()

    async def close(self, drain: float = 0.0) -> None:
        """End the client: accept no more, give open connections `drain` seconds, say goodbye."""
        try:
            await self._close(drain)
        finally:
            await self._transport.close()

    async def _close(self, drain: float) -> None:
        for listener in self._listeners:
            listener.close()
        if drain > 0:
            await self._drain(drain)
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._handshakes.close()
        await self._tasks.close()
        await self._identities.close()
        if self.state not in (State.CLOSED, State.FAILED):
            self._manager.closed()

    async def _drain(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            session = self._manager.current
            if not isinstance(session, ClientSession) or session.channel_count == 0:
                return
            await asyncio.sleep(0.05)

    # Sessions

    async def _open_session(self) -> ClientSession:
        timeout = self._options.connect_timeout
        settings = session_settings(
            self._options, self._transport.server, self._loaded, self._host_keys
        )
        session = await open_session(
            lambda factory: self._transport.connect(factory, timeout), settings
        )
        self._host_keys.remember(session.host_key_blob)
        return session

    async def _restore(self, session: Session) -> None:
        assert isinstance(session, ClientSession)
        strict = self._options.exit_on_forward_failure and not self._connected.is_set()
        await self._remote_forwards.restore(session, strict=strict)

    def _changed(self, change: StateChange) -> None:
        self._change, self._changed_at = change, time.monotonic()
        _log_change(self._transport.name, self._transport.server, change)
        if change.state is State.CONNECTED:
            self._connected.set()
        for listener in list(self._state_listeners):
            listener(change)

    # Channels

    async def open_connection(self, host: str, port: int) -> StreamPair:
        """A connection that the server makes to `host`:`port`, as asyncio's own.

        The name is resolved by the server. Raises `ChannelRefused` with the reason, `SessionLost`
        where no session comes within `connect_timeout`, or `UsageError` for an impossible host.
        """
        return await self._open_streams(TcpDestination.from_wire(host, port))

    async def open_unix_connection(self, path: str) -> StreamPair:
        """A connection that the server makes to a Unix socket of its own; raises as above."""
        return await self._open_streams(UnixDestination(path))

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Open a channel with a protocol of the caller's; as `Dialer.dial`, and raises as above."""
        return await self._manager.dial(destination, protocol)

    async def _open_streams(self, destination: TcpDestination | UnixDestination) -> StreamPair:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport = await self._manager.dial(destination, protocol)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def open_datagrams(self) -> Datagrams:
        """An association: datagrams that the server sends and receives.

        Raises `ChannelRefused`, with `Refusal.UNSUPPORTED` where the server has no datagrams, or
        `SessionLost`.
        """
        datagrams = Datagrams()
        await self._manager.open_datagrams(datagrams)
        return datagrams

    async def start_remote_forward(self, spec: str | RemoteForward) -> Forward:
        """Ask the server to listen, as `-R`; kept across sessions until cancelled.

        The forward's `bound` says where it listens. Raises `UsageError`, `ForwardError` or
        `SessionLost`.
        """
        parsed = parse_remote_forward(spec) if isinstance(spec, str) else spec
        session = await self._manager.session()
        assert isinstance(session, ClientSession)
        return await self._remote_forwards.start(session, parsed)

    async def cancel_remote_forward(self, forward: Forward) -> None:
        """Give a remote forward up; the server stops listening."""
        await self._remote_forwards.cancel(forward)


def session_settings(
    options: ConnectOptions, server: str, identities: list[Identity], host_keys: HostKeys
) -> SessionSettings:
    """What a session needs to know, out of a client's options and what was loaded for it."""
    return SessionSettings(
        server=server,
        user=options.user_name(),
        identities=identities,
        verify_host_key=host_keys.verify,
        version=VERSION,
        known_key_types=host_keys.known_key_types(),
        trusts_authorities=host_keys.trusts_authorities(),
        keepalive=options.keepalive,
        timeout=options.connect_timeout,
        rekey_bytes=options.rekey_bytes,
    )


def connect(options: ConnectOptions) -> Client:
    """A client for these options, to be entered with `async with`.

    Starts no listener of its own unless `socks5` or forwards are given. Entering raises
    `IdentityError`, `ListenError`, `TransportError`, `AuthenticationError`, `HostKeyError`,
    `ProtocolError`, `SessionLost`, or `ForwardError` with `exit_on_forward_failure`.
    """
    return Client(options)


def _interface(kind: str, listen: HostPort | UnixPath, tally: Tally) -> InterfaceStatus:
    came, went = tally.carried
    return InterfaceStatus(kind, str(listen), tally.open, tally.total, came, went)


def _log_change(transport: str, server: str, change: StateChange) -> None:
    fields: dict[str, object] = {"server": server, "transport": transport}
    if change.error is not None:
        fields["reason"] = change.error.message
    if change.retry_in is not None:
        fields["retry_in"] = round(change.retry_in, 1)
        if change.error is not None and change.error.hint is not None:
            fields["hint"] = change.error.hint
    level = logging.WARNING if change.state is State.WAITING else logging.INFO
    if change.state is State.CONNECTING:
        level = logging.DEBUG
    log_event(_log, level, f"session {change.state}", **fields)
