"""Wraith: an SSH tunnel with the reach of a VPN.

    async with wraith.connect(wraith.ConnectOptions(server="example.com")) as client:
        reader, writer = await client.open_connection("db.internal", 5432)

    async with wraith.serve(wraith.ServeOptions(listen=["tcp://127.0.0.1:0"])) as server:
        ...

    stream = await wraith.open_stream(wraith.ConnectOptions(...), "wraith-echo:0")

The names below are the whole of the public surface, with `wraith.testing` beside it.
"""

from wraith._version import __version__
from wraith.client.channel_manager import State, StateChange
from wraith.client.connect import Client, connect
from wraith.client.options import ConnectOptions
from wraith.client.remote_forward import Forward
from wraith.client.status import InterfaceStatus, Status
from wraith.client.stream import DuplexStream, open_stream
from wraith.errors import (
    AuthenticationError,
    CertificateError,
    ChannelError,
    ChannelRefused,
    EventError,
    EventStreamError,
    ForwardError,
    FrameError,
    HostKeyChanged,
    HostKeyError,
    HostKeyMismatch,
    HostKeyUnknown,
    IdentityError,
    ListenError,
    ProtocolError,
    ProxyAuthenticationError,
    ProxyError,
    Refusal,
    SessionError,
    SessionLost,
    SlowConsumer,
    StreamTruncated,
    TlsError,
    TransportError,
    UsageError,
    WraithError,
)
from wraith.server.options import ServeOptions
from wraith.server.serve import Server, serve
from wraith.server.services import ServicePeer

__all__ = [
    "AuthenticationError",
    "CertificateError",
    "ChannelError",
    "ChannelRefused",
    "Client",
    "ConnectOptions",
    "DuplexStream",
    "EventError",
    "EventStreamError",
    "Forward",
    "ForwardError",
    "FrameError",
    "HostKeyChanged",
    "HostKeyError",
    "HostKeyMismatch",
    "HostKeyUnknown",
    "IdentityError",
    "InterfaceStatus",
    "ListenError",
    "ProtocolError",
    "ProxyAuthenticationError",
    "ProxyError",
    "Refusal",
    "ServeOptions",
    "Server",
    "ServicePeer",
    "SessionError",
    "SessionLost",
    "SlowConsumer",
    "State",
    "StateChange",
    "Status",
    "StreamTruncated",
    "TlsError",
    "TransportError",
    "UsageError",
    "WraithError",
    "__version__",
    "connect",
    "open_stream",
    "serve",
]
