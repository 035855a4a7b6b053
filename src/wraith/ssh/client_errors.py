"""The SSH library's errors, as ours: translated once, at the border."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncssh

from wraith.errors import (
    AuthenticationError,
    HostKeyError,
    ProtocolError,
    SessionError,
    SessionLost,
)

if TYPE_CHECKING:
    from wraith.ssh.client_session import SessionSettings


def translate(
    error: Exception,
    settings: SessionSettings,
    *,
    refused_host_key: HostKeyError | None,
    host_key_accepted: bool,
) -> SessionError:
    """The error for a session that could not be made.

    `host_key_accepted` tells whether the handshake came as far as authentication.
    """
    if refused_host_key is not None:
        return refused_host_key
    if isinstance(error, asyncssh.PermissionDenied):
        return authentication_refused(settings)
    if isinstance(error, asyncssh.DisconnectError) and not isinstance(
        error, asyncssh.ConnectionLost
    ):
        return _disconnected(error, settings, host_key_accepted)
    if host_key_accepted:
        return SessionLost(f"{settings.server} closed the connection during authentication")
    return SessionLost(
        f"{settings.server} closed the connection before the SSH handshake was done",
        hint="check the port; SSH inside TLS is --transport tls, a hidden server may want "
        "--stealth-secret",
    )


def _disconnected(
    error: asyncssh.DisconnectError, settings: SessionSettings, host_key_accepted: bool
) -> SessionError:
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return ProtocolError(
            f"{settings.server} shares no algorithm with us: {_plain(error.reason)}",
            hint="Wraith speaks curve25519 or ML-KEM, AES-GCM or ChaCha20; upgrade the server",
        )
    if isinstance(error, asyncssh.ProtocolNotSupported):
        return ProtocolError(
            f"{settings.server} does not speak SSH 2",
            hint="check the address and the port",
        )
    if "too many authentication failures" in error.reason.lower():
        return authentication_refused(settings)
    if isinstance(error, asyncssh.ProtocolError | asyncssh.MACError):
        return ProtocolError(f"{settings.server} broke the SSH protocol: {_plain(error.reason)}")
    stage = "during authentication" if host_key_accepted else "during the handshake"
    return SessionLost(f"{settings.server} ended the session {stage}: {_plain(error.reason)}")


def authentication_refused(settings: SessionSettings) -> AuthenticationError:
    """The refusal, with the very line that the server's authorized_keys needs."""
    if not settings.identities:
        return AuthenticationError(
            f"{settings.server} asks for a key, and there is none to offer",
            hint="make one with: wraith keygen",
        )
    offered = settings.identities[0]
    names = ", ".join(identity.name for identity in settings.identities)
    return AuthenticationError(
        f"{settings.server} accepts none of our keys for user {settings.user} ({names})",
        hint=f"let it in by adding this line to the server's authorized_keys:\n"
        f"  {offered.public.line()}",
    )


def farewell(server: str, error: Exception | None) -> str:
    """How a session that was up has ended."""
    if isinstance(error, asyncssh.DisconnectError) and not isinstance(
        error, asyncssh.ConnectionLost
    ):
        return f"{server} ended the session: {_plain(error.reason)}"
    if error is None:
        return f"the session with {server} was closed"
    return f"the connection to {server} was lost"


def _plain(reason: str) -> str:
    """A stranger's text, fit for our terminal and our log: printable and short."""
    text = "".join(c if c.isprintable() else "?" for c in reason[:200])
    return text.rstrip(".").lower() or "no reason given"
