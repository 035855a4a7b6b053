"""The client's side of one SSH session: authenticate, open channels, ask for forwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncssh
from asyncssh import constants
from asyncssh.connection import SSHClientConnection, SSHClientConnectionOptions

from wraith.dialing.base import Spliceable, SpliceOwner
from wraith.errors import (
    ChannelRefused,
    ForwardError,
    HostKeyError,
    Refusal,
    SessionLost,
    WraithError,
)
from wraith.policy.keys import CertificateFacts, PublicKey, parse_certificate
from wraith.protocol import capabilities
from wraith.protocol.ssh_reason import decode_refusal
from wraith.ssh import algorithms, client_errors
from wraith.ssh.channel import ChannelSession, ChannelStream
from wraith.ssh.connection import OPEN_TIMEOUT, WINDOW_BUDGET, AcceptChannel, ConnectionMixin
from wraith.ssh.fast_connection import FastConnection
from wraith.ssh.internals import hot_path_available
from wraith.ssh.keys import Identity
from wraith.ssh.lean_channel import ssh_string
from wraith.ssh.socket_channel import SocketChannel
from wraith.values.address import Destination, HostPort, TcpDestination, UnixPath

MAX_CHANNELS = 65536

VerifyHostKey = Callable[[bytes], None]
"""Asked with the blob of the server's key or certificate; raises a `HostKeyError` to refuse it."""

Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[asyncio.Transport]]
"""Makes the stream that carries the session, and sets the factory's protocol on it."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What one session needs to know.

    `server` names the server in messages. `known_key_types` are the key types on record for it.
    `keepalive` and `timeout` are in seconds; the timeout bounds the whole of stream, key exchange
    and authentication. `rekey_bytes` renews the keys after so much traffic.
    """

    server: str
    user: str
    identities: Sequence[Identity]
    verify_host_key: VerifyHostKey
    version: str
    known_key_types: Sequence[str] = ()
    trusts_authorities: bool = False
    keepalive: float = 15.0
    timeout: float = 10.0
    rekey_bytes: int | None = None


class _Owner(asyncssh.SSHClient):
    """Hears from the library how the connection ended."""

    def connection_made(self, conn: SSHClientConnection) -> None:
        assert isinstance(conn, _Connection)
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.lost_error = exc


class _Connection(ConnectionMixin, SSHClientConnection):
    """The library's client connection, asking us about the host key."""

    def __init__(self, settings: SessionSettings, options: SSHClientConnectionOptions) -> None:
        super().__init__(asyncio.get_running_loop(), options, wait="auth")
        self.prepare(settings.keepalive, WINDOW_BUDGET, MAX_CHANNELS)
        self._verify = settings.verify_host_key
        self.lost_error: Exception | None = None
        self.refused_host_key: HostKeyError | None = None
        self.host_key_accepted = False
        self.host_key_blob = b""

    def validate_server_host_key(self, key_data: bytes) -> asyncssh.SSHKey:
        """Our verdict instead of the library's, which checks the signature after it."""
        self.host_key_blob = key_data
        try:
            self._verify(key_data)
        except HostKeyError as error:
            self.refused_host_key = error
            raise asyncssh.HostKeyNotVerifiable("refused") from None
        self.host_key_accepted = True
        return _decode_host_key(key_data)

    async def ask_capabilities(self) -> frozenset[str]:
        """What the server can do beyond SSH: nothing, if it does not know the question."""
        kind, packet = await self._make_global_request(capabilities.REQUEST.encode())
        if kind != constants.MSG_REQUEST_SUCCESS:
            return frozenset()
        return capabilities.decode(packet.get_remaining_payload())


def _decode_host_key(blob: bytes) -> asyncssh.SSHKey:
    with contextlib.suppress(asyncssh.KeyImportError):
        return asyncssh.public_key.decode_ssh_certificate(blob).key
    try:
        return asyncssh.public_key.decode_ssh_public_key(blob)
    except asyncssh.KeyImportError:
        raise asyncssh.HostKeyNotVerifiable("the host key cannot be read") from None


class _FastClientConnection(FastConnection, _Connection):
    """The same, with the hot path for channel data."""

    def splice(self, destination: Destination, owner: SpliceOwner) -> SocketChannel:
        """Ask for a channel that will have a bare socket."""
        channel = SocketChannel(self, owner)
        if isinstance(destination, TcpDestination):
            channel.send_open(
                b"direct-tcpip",
                ssh_string(destination.host.encode()),
                destination.port.to_bytes(4, "big"),
                _NO_ORIGIN,
            )
        else:
            path = ssh_string(destination.path.encode())
            channel.send_open(b"direct-streamlocal@openssh.com", path, ssh_string(b""), bytes(4))
        self.unanswered.add(channel)
        return channel


_NO_ORIGIN = ssh_string(b"127.0.0.1") + bytes(4)
"""Where the connection comes from is nobody's business (RFC 4254 section 7.2)."""


async def open_session(connect: Connect, settings: SessionSettings) -> ClientSession:
    """Make the stream and the session on it.

    `connect` keeps the same time by itself, and knows better what took it. Raises its
    `TransportError`, `HostKeyError`, `AuthenticationError`, `ProtocolError`, or `SessionLost` where
    the server went away or took too long.
    """
    options = _options(settings)
    loop = asyncio.get_running_loop()
    options.waiter = waiter = loop.create_future()
    kind = _FastClientConnection if hot_path_available() else _Connection
    connection = kind(settings, options)
    try:
        deadline = loop.time() + settings.timeout
        await connect(lambda: connection)
        async with asyncio.timeout_at(deadline):
            await waiter
    except TimeoutError:
        _abandon(connection, waiter)
        raise SessionLost(
            f"{settings.server} did not finish the SSH handshake within {settings.timeout:g} s"
        ) from None
    except WraithError:
        _abandon(connection, waiter)
        raise
    except (asyncssh.Error, OSError) as error:
        _abandon(connection, waiter)
        raise client_errors.translate(
            error,
            settings,
            refused_host_key=connection.refused_host_key,
            host_key_accepted=connection.host_key_accepted,
        ) from None
    except BaseException:
        _abandon(connection, waiter)
        raise
    return ClientSession(connection, settings.server)


def _abandon(connection: _Connection, waiter: asyncio.Future[None]) -> None:
    connection.abort()
    if waiter.done() and not waiter.cancelled():
        waiter.exception()  # looked at, so that nobody complains about it later
    else:
        waiter.cancel()


def _options(settings: SessionSettings) -> SSHClientConnectionOptions:
    host_keys = algorithms.host_keys_led_by(list(settings.known_key_types))
    if settings.trusts_authorities:
        host_keys = algorithms.HOST_CERTIFICATES + host_keys
    pairs = [pair for identity in settings.identities for pair in identity.pairs]
    return SSHClientConnectionOptions(
        config=[],
        client_factory=_Owner,
        host=settings.server,
        port=22,
        username=settings.user,
        client_version=settings.version,
        known_hosts=([], [], []),
        server_host_key_algs=host_keys,
        client_keys=pairs or None,
        agent_path=None,
        preferred_auth="publickey",
        gss_host=None,
        kex_algs=algorithms.KEY_EXCHANGES,
        encryption_algs=algorithms.ciphers(),
        mac_algs=algorithms.MACS,
        signature_algs=algorithms.SIGNATURES,
        compression_algs=None,
        keepalive_interval=0,
        login_timeout=settings.timeout,
        **({} if settings.rekey_bytes is None else {"rekey_bytes": settings.rekey_bytes}),
    )


class ClientSession:
    """One live session; made by `open_session`.

    It ends when its stream does, when the server has been silent for three keepalives, or by
    `close`; it never comes back.
    """

    def __init__(self, connection: _Connection, server: str) -> None:
        self._connection = connection
        self._server = server
        self._opening: set[asyncio.Task[ChannelStream]] = set()
        self._listeners: dict[object, asyncssh.SSHListener] = {}
        self._silent = False
        connection.watch(self._on_silence)
        loop = asyncio.get_running_loop()
        self._capabilities: asyncio.Future[frozenset[str]] = loop.create_future()
        connection.create_task(self._ask_capabilities())

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open"
        return f"<ClientSession {self._server} {state} channels={self.channel_count}>"

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended."""
        return self._connection.is_closed()

    @property
    def channel_count(self) -> int:
        """Channels open or opening."""
        return self._connection.channel_count

    @property
    def round_trip(self) -> float | None:
        """Seconds to the server and back; None where that is not known."""
        return getattr(self._connection, "round_trip", 0.0) or None

    @property
    def server_version(self) -> str:
        """The server's software, as it calls itself."""
        return str(self._connection.get_extra_info("server_version", ""))

    async def _ask_capabilities(self) -> None:
        self._capabilities.set_result(await self._connection.ask_capabilities())

    async def capabilities(self) -> frozenset[str]:
        """What the server can do beyond SSH; it is asked once, right after authentication."""
        return await asyncio.shield(self._capabilities)

    def stream_info(self, name: str) -> object:
        """What the stream below knows under this name, as `get_extra_info` has it, or None."""
        return self._connection.get_extra_info(name)

    @property
    def host_key_blob(self) -> bytes:
        """The server's key or certificate, as it came; its signature has been checked."""
        return self._connection.host_key_blob

    # Channels

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        """As `Dialer.dial`: the server connects to the destination.

        Raises `ChannelRefused`, or `SessionLost` if the session ends meanwhile.
        """
        work = self._open(destination, protocol)
        task = asyncio.get_running_loop().create_task(work, name="open a channel")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                return await asyncio.shield(task)
        except TimeoutError:
            task.add_done_callback(_abort_opened)
            raise ChannelRefused(Refusal.TIMED_OUT) from None
        except asyncio.CancelledError:
            # The library forgets a channel whose opening is cancelled, and the server keeps it:
            # let it open, then close it.
            task.add_done_callback(_abort_opened)
            raise

    async def _open(self, destination: Destination, protocol: asyncio.Protocol) -> ChannelStream:
        connection = self._connection
        stream = connection.new_stream()
        try:
            if isinstance(destination, TcpDestination):
                await connection.create_connection(
                    lambda: ChannelSession(stream, protocol),
                    destination.host,
                    destination.port,
                    "127.0.0.1",
                    0,
                )
            else:
                await connection.create_unix_connection(
                    lambda: ChannelSession(stream, protocol),  # type: ignore[arg-type,return-value]
                    destination.path,
                )
        except asyncssh.ChannelOpenError as error:
            connection.streams.discard(stream)
            if not connection.is_usable:
                raise SessionLost("the session ended while a channel was opening") from None
            raise ChannelRefused(decode_refusal(error.code, error.reason)) from None
        except (asyncssh.Error, OSError):
            connection.streams.discard(stream)
            raise SessionLost("the session ended while a channel was opening") from None
        except BaseException:
            connection.streams.discard(stream)
            raise
        return stream

    def splice(self, destination: Destination, owner: SpliceOwner) -> Spliceable | None:
        """As `Splicer.splice`; None on a session without the hot path."""
        connection = self._connection
        if not isinstance(connection, _FastClientConnection) or not connection.is_usable:
            return None
        try:
            return connection.splice(destination, owner)
        except asyncssh.ChannelOpenError:
            return None

    # Remote forwards

    async def listen(self, address: HostPort | UnixPath, accept: AcceptChannel) -> int:
        """Ask the server to listen; returns the TCP port that it bound, 0 for a Unix socket.

        An empty host means every interface of the server (RFC 4254 section 7.1). Raises
        `ForwardError` when the server refuses, `SessionLost` if the session ends meanwhile.
        """
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                listener = await self._listen(address, accept)
        except asyncssh.ChannelListenError:
            if self.is_closed:
                raise SessionLost("the session ended while a forward was asked for") from None
            raise ForwardError(f"the server refused to listen on {address}") from None
        except TimeoutError:
            raise ForwardError(f"the server did not answer about listening on {address}") from None
        except (asyncssh.Error, OSError):
            raise SessionLost("the session ended while a forward was asked for") from None
        if isinstance(address, UnixPath):
            self._listeners[address] = listener
            return 0
        port = int(listener.get_port())
        self._listeners[HostPort(address.host, port)] = listener
        return port

    async def _listen(
        self, address: HostPort | UnixPath, accept: AcceptChannel
    ) -> asyncssh.SSHListener:
        def session(*_origin: object) -> Awaitable[ChannelSession]:
            return self._connection.accept_channel(accept)

        if isinstance(address, UnixPath):
            return await self._connection.create_unix_server(
                session,
                address.path,
            )
        return await self._connection.create_server(
            session,
            address.host,
            address.port,
        )

    async def cancel_listen(self, address: HostPort | UnixPath) -> None:
        """Ask the server to stop listening, at the port that it bound.

        Nothing happens if it does not listen there.
        """
        listener = self._listeners.pop(address, None)
        if listener is not None and not self.is_closed:
            listener.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await listener.wait_closed()

    # Ending

    def probe(self) -> None:
        """Ask the server for a sign of life now, as after a sleep of this machine."""
        if not self.is_closed:
            self._connection.create_task(self._connection.probe())

    def _on_silence(self) -> None:
        self._silent = True
        self._connection.abort()

    async def wait_closed(self) -> SessionLost:
        """Wait for the end of the session, and say how it came."""
        await self._connection.wait_closed()
        self._connection.stop_watching()
        if self._silent:
            return SessionLost(f"{self._server} has fallen silent")
        return SessionLost(client_errors.farewell(self._server, self._connection.lost_error))

    async def close(self) -> None:
        """Say goodbye and end the session; its channels are cut short."""
        self._connection.close()
        await self._connection.wait_closed()
        self._connection.stop_watching()
        for task in list(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)

    def abort(self) -> None:
        """End the session without a word."""
        self._connection.abort()


def _abort_opened(task: asyncio.Task[ChannelStream]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


def read_host_key(blob: bytes) -> tuple[PublicKey, CertificateFacts | None]:
    """The plain facts of a host key; of the key inside, and the certificate, if it is one.

    Raises `HostKeyError` for what cannot be read, or a certificate with a bad signature.
    """
    try:
        key = _decode_host_key(blob)
        plain = PublicKey(key.get_algorithm(), key.public_data)
        return plain, None if plain.blob == blob else parse_certificate(blob)
    except (asyncssh.HostKeyNotVerifiable, ValueError):
        raise HostKeyError("the host key of the server cannot be read") from None
