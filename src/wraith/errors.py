"""Every error that Wraith raises, on one page.

    WraithError                 WRAITH_ERROR
    ├── UsageError              WRAITH_USAGE              an option or value that cannot be used
    ├── IdentityError           WRAITH_IDENTITY           our own key is missing or locked
    ├── ListenError             WRAITH_LISTEN_FAILED      an address that cannot be bound
    ├── TransportError          WRAITH_TRANSPORT_FAILED   no way to the server; worth a retry
    │   ├── ProxyError          WRAITH_PROXY_FAILED       the upstream proxy is of no use
    │   │   └── ProxyAuthenticationError  WRAITH_PROXY_AUTH_FAILED  it does not take our credentials
    │   └── TlsError            WRAITH_TLS_FAILED         the server speaks no TLS as we can
    │       └── CertificateError  WRAITH_CERTIFICATE      its certificate is not one we trust
    ├── SessionError            WRAITH_SESSION_FAILED     the SSH session failed
    │   ├── SessionLost         WRAITH_SESSION_LOST       it ended or fell silent; worth a retry
    │   ├── ProtocolError       WRAITH_PROTOCOL           the peer does not speak SSH as we can
    │   ├── AuthenticationError WRAITH_AUTH_FAILED        the server accepts none of our keys
    │   └── HostKeyError        WRAITH_HOST_KEY           the server's key is not one we trust
    │       ├── HostKeyChanged  WRAITH_HOST_KEY_CHANGED   another key than the one on record
    │       ├── HostKeyMismatch WRAITH_HOST_KEY_MISMATCH  another key than the one asked for
    │       └── HostKeyUnknown  WRAITH_HOST_KEY_UNKNOWN   none on record, one was demanded
    ├── ChannelError            WRAITH_CHANNEL_FAILED     one channel failed, the session goes on
    │   └── ChannelRefused      WRAITH_CHANNEL_REFUSED    the server said no, and why
    ├── ForwardError            WRAITH_FORWARD_REFUSED    a remote forward was not granted
    ├── EventError              WRAITH_EVENT              an event that cannot be sent
    └── EventStreamError        WRAITH_EVENT_STREAM       a stream of events has ended or broken
        ├── FrameError          WRAITH_FRAME              a length that no frame may have
        ├── StreamTruncated     WRAITH_TRUNCATED          it ended in the middle of a frame
        └── SlowConsumer        WRAITH_SLOW_CONSUMER      more is waiting than may wait

The codes are stable, and shared with the Node package. A message is one sentence for a person; a
hint, where there is one, is the next step. None of them holds a destination or a secret.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class WraithError(Exception):
    """The root of the tree.

    `message` is one sentence without a full stop; `hint`, if any, is what the user can do next.
    """

    code: ClassVar[str] = "WRAITH_ERROR"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(WraithError, ValueError):
    """An option or a value that cannot be used; the program ends with exit code 2."""

    code = "WRAITH_USAGE"
    exit_code = 2


class IdentityError(WraithError):
    """A private key, certificate or agent of our own cannot be used."""

    code = "WRAITH_IDENTITY"


class ListenError(WraithError):
    """An address that we were asked to listen on cannot be bound."""

    code = "WRAITH_LISTEN_FAILED"


class TransportError(WraithError):
    """The byte stream to the server could not be made, or broke before SSH began."""

    code = "WRAITH_TRANSPORT_FAILED"


class ProxyError(TransportError):
    """The upstream proxy cannot be reached, or does not do what a proxy does.

    `reason` is what a client is told whose destination lies behind it.
    """

    code = "WRAITH_PROXY_FAILED"

    def __init__(self, message: str, reason: Refusal, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ProxyAuthenticationError(ProxyError):
    """The upstream proxy wants credentials, or others than it was given."""

    code = "WRAITH_PROXY_AUTH_FAILED"


class TlsError(TransportError):
    """The server does not speak TLS, or not as we can."""

    code = "WRAITH_TLS_FAILED"


class CertificateError(TlsError):
    """The server's TLS certificate is not one that we trust."""

    code = "WRAITH_CERTIFICATE"


class SessionError(WraithError):
    """The SSH session could not be made, or cannot go on."""

    code = "WRAITH_SESSION_FAILED"


class SessionLost(SessionError):
    """The session ended, fell silent, or was not there in time."""

    code = "WRAITH_SESSION_LOST"


class ProtocolError(SessionError):
    """The peer broke the SSH protocol, or shares no algorithm with us."""

    code = "WRAITH_PROTOCOL"


class AuthenticationError(SessionError):
    """The server accepted none of the keys that we offered."""

    code = "WRAITH_AUTH_FAILED"


class HostKeyError(SessionError):
    """The server's host key is not one that we trust."""

    code = "WRAITH_HOST_KEY"


class HostKeyChanged(HostKeyError):
    """Another host key than the one on record for this server."""

    code = "WRAITH_HOST_KEY_CHANGED"


class HostKeyMismatch(HostKeyError):
    """Another host key than the one that `--host-key` names."""

    code = "WRAITH_HOST_KEY_MISMATCH"


class HostKeyUnknown(HostKeyError):
    """No host key on record, and `--strict-host-key` demands one."""

    code = "WRAITH_HOST_KEY_UNKNOWN"


class ChannelError(WraithError):
    """One channel failed; the session and its other channels go on."""

    code = "WRAITH_CHANNEL_FAILED"


class Refusal(StrEnum):
    """Why a destination could not be reached; the value travels in SSH reason texts."""

    PROHIBITED = "EPERM"
    REFUSED = "ECONNREFUSED"
    HOST_UNREACHABLE = "EHOSTUNREACH"
    NETWORK_UNREACHABLE = "ENETUNREACH"
    TIMED_OUT = "ETIMEDOUT"
    NAME_UNKNOWN = "ENOTFOUND"
    RESOURCE_SHORTAGE = "EMFILE"
    UNSUPPORTED = "EPROTONOSUPPORT"
    FAILED = "EIO"


class ChannelRefused(ChannelError):
    """The far side did not open the channel; `reason` says why."""

    code = "WRAITH_CHANNEL_REFUSED"

    def __init__(self, reason: Refusal, message: str | None = None) -> None:
        super().__init__(message or _REFUSAL_MESSAGES[reason])
        self.reason = reason


class ForwardError(WraithError):
    """A remote forward that the server did not grant."""

    code = "WRAITH_FORWARD_REFUSED"


class EventError(WraithError, ValueError):
    """An event that cannot be sent: a reserved type, a value that JSON cannot carry, its size."""

    code = "WRAITH_EVENT"


class EventStreamError(WraithError):
    """A stream of events has ended, or cannot go on; a new connection is a new stream."""

    code = "WRAITH_EVENT_STREAM"


class FrameError(EventStreamError):
    """The other side announced a frame of a length that none may have."""

    code = "WRAITH_FRAME"


class StreamTruncated(EventStreamError):
    """The stream ended in the middle of a frame: what was under way is lost."""

    code = "WRAITH_TRUNCATED"


class SlowConsumer(EventStreamError):
    """More events are waiting to be taken than may wait."""

    code = "WRAITH_SLOW_CONSUMER"


_REFUSAL_MESSAGES = {
    Refusal.PROHIBITED: "the server does not allow this destination",
    Refusal.REFUSED: "the destination refused the connection",
    Refusal.HOST_UNREACHABLE: "the destination host is unreachable",
    Refusal.NETWORK_UNREACHABLE: "the destination network is unreachable",
    Refusal.TIMED_OUT: "the destination did not answer in time",
    Refusal.NAME_UNKNOWN: "the destination name is unknown",
    Refusal.RESOURCE_SHORTAGE: "the server has no room for another channel",
    Refusal.UNSUPPORTED: "the server has no such service",
    Refusal.FAILED: "the destination could not be reached",
}
