"""Wraith: an SSH tunnel with the reach of a VPN.

    async with wraith.connect(wraith.ConnectOptions(server="example.com")) as client:
        reader, writer = await client.open_connection("db.internal", 5432)

    async with wraith.serve(wraith.ServeOptions(listen=["tcp://127.0.0.1:0"])) as server:
        ...

    stream = await wraith.open_stream(wraith.ConnectOptions(...), "wraith-echo:0")

The names below are the whole of the public surface, with `wraith.testing` beside it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wraith._version import __version__
from wraith.client.channel_manager import State, StateChange
from wraith.client.connect import Client, connect
from wraith.client.datagrams import Datagrams
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
from wraith.transports.base import PathInfo

if TYPE_CHECKING:
    from wraith import pubsub as pubsub
    from wraith.server.options import ServeOptions
    from wraith.server.serve import Server, serve
    from wraith.server.services import ServicePeer

_LATER = {
    "ServeOptions": "wraith.server.options",
    "Server": "wraith.server.serve",
    "ServicePeer": "wraith.server.services",
    "serve": "wraith.server.serve",
}
"""The server's half is read when it is asked for: a client starts a fifth faster without it."""

__all__ = [
    "AuthenticationError",
    "CertificateError",
    "ChannelError",
    "ChannelRefused",
    "Client",
    "ConnectOptions",
    "Datagrams",
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
    "PathInfo",
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


def __getattr__(name: str) -> Any:
    if name == "pubsub":
        return import_module("wraith.pubsub")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
