"""The server's side of one SSH session: ask policy, offer channels, refuse all else at once.

Nothing here decides. `ServerDelegate` is asked who may enter and where they may go; the library
checks the signatures.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

import asyncssh
from asyncssh.connection import SSHServerConnection, SSHServerConnectionOptions
from asyncssh.packet import SSHPacket

from wraith.dialing.base import Attempt, Outcome
from wraith.dialing.direct import MAX_PORT
from wraith.errors import ChannelRefused, Refusal
from wraith.policy.identity import Grant
from wraith.policy.keys import CertificateFacts, PublicKey, parse_certificate
from wraith.protocol import capabilities
from wraith.protocol.ssh_reason import encode_refusal
from wraith.ssh import algorithms
from wraith.ssh.channel import ChannelSession
from wraith.ssh.connection import WINDOW_BUDGET, ConnectionMixin
from wraith.ssh.fast_connection import FastConnection
from wraith.ssh.internals import hot_path_available
from wraith.ssh.keys import PrivateKey
from wraith.ssh.lean_channel import OPEN, ssh_string
from wraith.ssh.socket_channel import SocketChannel
from wraith.values.address import Destination, HostPort, TcpDestination, UnixDestination, UnixPath

DISCONNECT_TOO_MANY_FAILURES = 2  # SSH_DISCONNECT_PROTOCOL_ERROR, as OpenSSH sends it
DISCONNECT_BY_APPLICATION = 11

Offer = PublicKey | CertificateFacts


class RemoteListener(Protocol):
    """A listening socket that the server holds for a client."""

    @property
    def port(self) -> int:
        """The TCP port bound; 0 for a Unix socket."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class ServerDelegate(Protocol):
    """What decides for one connection; all calls come from the event loop."""

    def offered(self, user: str, offer: Offer) -> Grant | None:
        """Whether this key may enter. Asked before the signature is checked."""
        ...

    def proven(self, user: str, offer: Offer) -> bool:
        """The signature is good. Decide for good; the session follows if this returns True."""
        ...

    def disproven(self, user: str, offer: Offer) -> None:
        """The signature is not good."""
        ...

    def other_method(self, user: str) -> None:
        """The peer tried something else than a key."""
        ...

    def session_began(self, session: ServerSession) -> None:
        """The peer is authenticated."""
        ...

    def capabilities(self) -> frozenset[str]:
        """What the server can do beyond SSH."""
        ...

    async def open(self, destination: Destination) -> asyncio.Protocol:
        """A connection to the destination, as the protocol for its channel, or `ChannelRefused`."""
        ...

    def connect(self, destination: Destination, outcome: Outcome) -> Attempt | None:
        """The same by callbacks: a socket to the destination, under the same policy."""
        ...

    async def listen(self, address: HostPort | UnixPath) -> RemoteListener | None:
        """A listener for a remote forward, or None to refuse it."""
        ...

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        ...


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What every session of a server shares; times in seconds."""

    options: SSHServerConnectionOptions
    keepalive: float
    max_auth_attempts: int
    max_channels: int


def server_settings(
    host_key: PrivateKey,
    *,
    version: str,
    login_grace: float = 30.0,
    keepalive: float = 15.0,
    max_auth_attempts: int = 10,
    max_channels: int = 1024,
    rekey_bytes: int | None = None,
) -> ServerSettings:
    """Prepare once what the library needs for each connection."""
    options = SSHServerConnectionOptions(
        config=[],
        server_factory=_Owner,
        server_version=version,
        server_host_keys=[host_key.library_key],
        gss_host=None,
        host_based_auth=False,
        password_auth=False,
        kbdint_auth=False,
        agent_forwarding=False,
        allow_pty=False,
        kex_algs=algorithms.KEY_EXCHANGES,
        encryption_algs=algorithms.ciphers(),
        mac_algs=algorithms.MACS,
        signature_algs=algorithms.SIGNATURES,
        compression_algs=None,
        keepalive_interval=0,
        login_timeout=login_grace,
        **({} if rekey_bytes is None else {"rekey_bytes": rekey_bytes}),
    )
    return ServerSettings(options, keepalive, max_auth_attempts, max_channels)


class _Owner(asyncssh.SSHServer):
    """Where the library asks; every answer comes from the connection's delegate."""

    _connection: _Connection

    def connection_made(self, conn: SSHServerConnection) -> None:
        assert isinstance(conn, _Connection)
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.ended(exc)

    def public_key_auth_supported(self) -> bool:
        return True

    def auth_completed(self) -> None:
        self._connection.began()

    def session_requested(self) -> bool:
        raise _prohibited()

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Any:
        return self._connection.route(_destination(dest_host, dest_port))

    def unix_connection_requested(self, dest_path: str) -> Any:
        return self._connection.route(UnixDestination(dest_path))

    def server_requested(self, listen_host: str, listen_port: int) -> Any:
        return listen_port <= MAX_PORT and self._connection.bind(HostPort(listen_host, listen_port))

    def unix_server_requested(self, listen_path: str) -> Any:
        return self._connection.bind(UnixPath(listen_path))


def _destination(host: str, port: int) -> TcpDestination:
    """The wire's ports have 32 bits (RFC 4254 section 7.2), and a resolver would cut them to 16."""
    if port > MAX_PORT:
        raise asyncssh.ChannelOpenError(*encode_refusal(Refusal.FAILED))
    return TcpDestination(host, port)


def _prohibited() -> asyncssh.ChannelOpenError:
    return asyncssh.ChannelOpenError(*encode_refusal(Refusal.PROHIBITED))


class _Connection(ConnectionMixin, SSHServerConnection):
    """The library's server connection, asking our delegate."""

    def __init__(self, settings: ServerSettings, delegate: ServerDelegate) -> None:
        super().__init__(asyncio.get_running_loop(), settings.options)
        self.prepare(settings.keepalive, WINDOW_BUDGET, settings.max_channels)
        self._delegate = delegate
        self._max_auth_attempts = settings.max_auth_attempts
        self._auth_requests = 0
        self._auth_failures = 0
        self._offered_key = False
        self._routing: set[asyncio.Task[asyncio.Protocol]] = set()

    # Authentication

    async def reload_config(self) -> None:
        """The library re-reads its configuration for every user name; there is none to read."""

    async def validate_public_key(
        self, username: str, key_data: bytes, msg: bytes, signature: bytes
    ) -> bool:
        """Our policy in place of the library's; the signature check stays the library's."""
        self._offered_key = True
        offer, key = _read_offer(key_data)
        if offer is None or key is None:
            return False
        grant = self._delegate.offered(username, offer)
        if grant is None:
            return False
        if not msg:
            return True  # the client asks only whether the key would do (RFC 4252 section 7)
        if not self._is_signed(key, grant, msg, signature):
            self._delegate.disproven(username, offer)
            return False
        return self._delegate.proven(username, offer)

    def _is_signed(self, key: asyncssh.SSHKey, grant: Grant, msg: bytes, signature: bytes) -> bool:
        if grant.verify_required:
            return False  # the library does not tell whether the user was verified
        key.set_touch_required(grant.touch_required)
        session_id = self._session_id
        signed = len(session_id).to_bytes(4, "big") + session_id + msg
        return bool(key.verify(signed, signature))

    def send_userauth_failure(self, partial_success: bool) -> None:
        """Count failures as OpenSSH does: the opening `none` request is free (sshd_config(5))."""
        offered_key, self._offered_key = self._offered_key, False
        if not offered_key and self._auth_requests:
            self._delegate.other_method(self._username)
        self._auth_failures += 1 if self._auth_requests or offered_key else 0
        self._auth_requests += 1
        if self._auth_failures >= self._max_auth_attempts:
            self.disconnect(DISCONNECT_TOO_MANY_FAILURES, "Too many authentication failures")
        else:
            super().send_userauth_failure(partial_success)

    def began(self) -> None:
        """The peer is authenticated."""
        session = ServerSession(self)
        self.watch(self.abort)
        self._delegate.session_began(session)

    def ended(self, error: Exception | None) -> None:
        """The connection is gone; what was still being opened for it is given up."""
        self.stop_watching()
        for task in list(self._routing):
            task.cancel()
        self._delegate.connection_lost(error)

    # Requests of Wraith's own

    def _process_capabilities_at_wraith_global_request(self, packet: SSHPacket) -> None:
        """The library finds this by the name of the request."""
        packet.check_end()
        self._report_global_response(capabilities.encode(self._delegate.capabilities()))

    # Channels

    def route(self, destination: Destination) -> Awaitable[ChannelSession]:
        """The session for a channel to a destination, once the delegate has opened it."""
        self.check_room()  # before the library does, which would leave the coroutine behind
        return self.accept_channel(lambda: self._open(destination))

    async def _open(self, destination: Destination) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._delegate.open(destination), name="open a destination")
        self._routing.add(task)
        task.add_done_callback(self._routing.discard)
        try:
            return await task
        except asyncio.CancelledError:
            raise ChannelRefused(Refusal.FAILED) from None

    # Remote forwards

    async def bind(self, address: HostPort | UnixPath) -> _ListenerHandle | bool:
        """A listener for the library to keep, or False."""
        listener = await self._delegate.listen(address)
        if listener is None:
            return False
        if not self.is_usable:
            listener.close()
            return False
        return _ListenerHandle(listener)


class _FastServerConnection(FastConnection, _Connection):
    """The same, with the hot path for channel data."""

    def open_requested(self, message: bytes) -> bool:
        """As the library would, for the one kind of channel that everybody opens all the time."""
        request = _direct_tcpip(message)
        if request is None:
            return False
        peer, window, max_packet, host, port = request
        try:
            channel, target = self._direct_tcpip(host, port)
            channel.process_open(peer, window, max_packet, target)
        except asyncssh.ChannelOpenError as error:
            self.send_channel_open_failure(peer, error.code, error.reason, error.lang)
        return True

    def _process_direct_tcpip_open(self, packet: SSHPacket) -> Any:
        """A channel that leads to a socket of ours, or to one of our own services."""
        host, port = packet.get_string(), packet.get_uint32()
        packet.get_string(), packet.get_uint32()  # where the client says that it comes from
        packet.check_end()
        return self._direct_tcpip(host, port)

    def _direct_tcpip(self, host: bytes, port: int) -> Any:
        destination = _destination(_text(host), port)
        if destination.is_reserved:
            session = self.route(destination)  # first, since it asks whether there is room
            return self.create_tcp_channel(), session
        return SocketChannel(self), destination

    def _process_direct_streamlocal_at_openssh_dot_com_open(self, packet: SSHPacket) -> Any:
        """A channel that leads to a Unix socket."""
        path = packet.get_string()
        packet.get_string(), packet.get_uint32()  # reserved (OpenSSH's PROTOCOL, 2.4)
        packet.check_end()
        return SocketChannel(self), UnixDestination(_text(path))

    def connect_channel(self, destination: Destination, outcome: Outcome) -> Attempt | None:
        """As the delegate decides."""
        return self._delegate.connect(destination, outcome)


_DIRECT_TCPIP = bytes((OPEN,)) + ssh_string(b"direct-tcpip")
_open_numbers = struct.Struct(">IIII").unpack_from  # channel, window, packet, length of the host
_number_at = struct.Struct(">I").unpack_from


def _direct_tcpip(message: bytes) -> tuple[int, int, int, bytes, int] | None:
    """Channel, window, largest packet, host and port of such a request (RFC 4254 section 7.2).

    None for any other message, and for one that is not exactly as it should be: what is wrong with
    it is the library's to say.
    """
    start = len(_DIRECT_TCPIP)
    if not message.startswith(_DIRECT_TCPIP) or len(message) < start + 28:
        return None
    peer, window, max_packet, size = _open_numbers(message, start)
    at = start + 16 + size
    if not max_packet or at + 12 > len(message):
        return None
    if at + 12 + _number_at(message, at + 4)[0] != len(message):
        return None
    return peer, window, max_packet, message[at - size : at], _number_at(message, at)[0]


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise asyncssh.ChannelOpenError(*encode_refusal(Refusal.NAME_UNKNOWN)) from None


class _ListenerHandle(asyncssh.SSHListener):
    """A `RemoteListener` in the library's table; closed with the connection, or on request."""

    def __init__(self, listener: RemoteListener) -> None:
        super().__init__()
        self._listener = listener

    def get_port(self) -> int:
        return self._listener.port

    def close(self) -> None:
        self._listener.close()

    async def wait_closed(self) -> None:
        return


def _read_offer(blob: bytes) -> tuple[Offer | None, asyncssh.SSHKey | None]:
    """The plain facts of what a client offers, and the library's key to check its signature."""
    with contextlib.suppress(asyncssh.KeyImportError):
        certificate = asyncssh.public_key.decode_ssh_certificate(blob)
        with contextlib.suppress(ValueError):
            return parse_certificate(blob), certificate.key
        return None, None
    with contextlib.suppress(asyncssh.KeyImportError):
        key = asyncssh.public_key.decode_ssh_public_key(blob)
        return PublicKey(key.get_algorithm(), blob), key
    return None, None


def serve_ssh(settings: ServerSettings, delegate: ServerDelegate) -> _Connection:
    """The protocol to set on an accepted stream; the delegate is told how it goes."""
    kind = _FastServerConnection if hot_path_available() else _Connection
    return kind(settings, delegate)


class ServerSession:
    """One authenticated session, as the server room sees it."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open"
        return f"<ServerSession {state} channels={self.channel_count}>"

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended."""
        return not self._connection.is_usable

    @property
    def channel_count(self) -> int:
        """Channels open now."""
        return self._connection.channel_count

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent, as far as they are counted."""
        return self._connection.traffic

    async def open_forwarded(
        self,
        listen: HostPort | UnixPath,
        origin: HostPort,
        protocol: asyncio.Protocol,
    ) -> asyncio.Transport:
        """Tell the client of a connection to its remote forward, and open a channel for it.

        `listen` is the address as the client asked for it (RFC 4254 section 7.2). Raises
        `ChannelRefused`.
        """
        stream = self._connection.new_stream()
        try:
            if isinstance(listen, UnixPath):
                await self._connection.create_unix_connection(
                    lambda: ChannelSession(stream, protocol),  # type: ignore[arg-type,return-value]
                    listen.path,
                )
            else:
                await self._connection.create_connection(
                    lambda: ChannelSession(stream, protocol),
                    listen.host,
                    listen.port,
                    origin.host,
                    origin.port,
                )
        except (asyncssh.Error, OSError):
            self._connection.streams.discard(stream)
            raise ChannelRefused(Refusal.FAILED) from None
        except BaseException:
            self._connection.streams.discard(stream)
            raise
        return stream

    async def answers(self, timeout: float) -> bool:
        """Whether the client gives a sign of life within `timeout` seconds."""
        if self.is_closed:
            return False
        try:
            async with asyncio.timeout(timeout):
                await self._connection.probe()
        except TimeoutError:
            return False
        return not self.is_closed

    def disconnect(self, reason: str) -> None:
        """Say goodbye and end the session; its channels are cut short."""
        self._connection.disconnect(DISCONNECT_BY_APPLICATION, reason)

    def abort(self) -> None:
        """End the session without a word."""
        self._connection.abort()
