"""What the machines of this room report from `next_event`.

The sides that listen report a `ServerEvent`; the side that asks an upstream proxy reports a
`ClientEvent`. A destination inside an event hides itself, and a `reason` never names one, so an
event may be logged as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from wraith.errors import Refusal
from wraith.values.address import HostPort, TcpDestination


class LocalProtocolError(RuntimeError):
    """A machine was asked for what its state does not allow: a mistake in the calling code."""


class NeedData(Enum):
    """The type of `NEED_DATA`, to be told apart with `is`."""

    NEED_DATA = "need data"

    def __repr__(self) -> str:
        return self.name


#: Nothing can be said yet: send what there is to send, receive more, and ask again.
NEED_DATA: Final = NeedData.NEED_DATA


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """The other side wants a stream to `destination`; an answer is due.

    Without `tunnel` it is a plain HTTP request, whose head was rewritten for the origin and
    stands first in what is to be relayed; then the acceptance itself sends nothing.
    """

    destination: TcpDestination
    tunnel: bool = True


@dataclass(frozen=True, slots=True)
class UdpAssociateRequest:
    """The other side wants to exchange datagrams; an answer is due.

    `destination` is where its datagrams will come from, if it knows: usually `0.0.0.0:0`.
    """

    destination: TcpDestination


@dataclass(frozen=True, slots=True)
class PacRequest:
    """A browser asks for its proxy configuration; send it `pac_file(…)`, then close.

    `host_header` is how the browser reached us, `host[:port]`, or empty if it does not say.
    """

    host_header: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The handshake is over: send what there is to send, if anything, then close."""

    reason: str


@dataclass(frozen=True, slots=True)
class BadRequest(Failed):
    """HTTP that is not for a proxy; a page that explains the port is ready to be sent."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The proxy has opened the stream; `bound` is the address that it says it used.

    Some proxies answer with the destination instead, so it is not shown either.
    """

    bound: HostPort = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The proxy could not open the stream.

    `reply` is its code, from RFC 1928 or an HTTP status, perhaps one that nobody knows; `reason`
    is what that code and whatever else the proxy said come to.
    """

    reply: int
    reason: Refusal


@dataclass(frozen=True, slots=True)
class AuthenticationFailed:
    """The proxy wants credentials that we do not have, or does not accept ours."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """The proxy does not speak the protocol; `reason` says where it broke it."""

    reason: str


ServerEvent: TypeAlias = NeedData | ConnectRequest | UdpAssociateRequest | PacRequest | Failed
ClientEvent: TypeAlias = NeedData | Connected | Refused | AuthenticationFailed | Malformed
