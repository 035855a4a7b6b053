"""What the library raises, in our words: whose fault it is, and what to do now."""

from __future__ import annotations

from dataclasses import replace

import asyncssh
import pytest

from wraith.errors import (
    AuthenticationError,
    HostKeyError,
    ProtocolError,
    SessionError,
    SessionLost,
)
from wraith.ssh.client_errors import authentication_refused, farewell, translate
from wraith.ssh.client_session import SessionSettings, read_host_key
from wraith.ssh.keys import generate, identity_from_key

KEY = generate("me")
SETTINGS = SessionSettings(
    server="server.example:22",
    user="me",
    identities=[identity_from_key(KEY, name="id_ed25519")],
    verify_host_key=lambda _blob: None,
    version="test",
)


def translated(error: Exception, *, accepted: bool = False) -> SessionError:
    return translate(error, SETTINGS, refused_host_key=None, host_key_accepted=accepted)


CASES = [
    (asyncssh.PermissionDenied("no"), AuthenticationError, "accepts none of our keys for user me"),
    (
        asyncssh.DisconnectError(2, "Too many authentication failures"),
        AuthenticationError,
        "accepts none",
    ),
    (asyncssh.KeyExchangeFailed("nothing in common"), ProtocolError, "shares no algorithm"),
    (asyncssh.ProtocolNotSupported("SSH-1"), ProtocolError, "does not speak SSH 2"),
    (asyncssh.ProtocolError("Bad packet."), ProtocolError, "broke the SSH protocol: bad packet"),
    (asyncssh.MACError("MAC"), ProtocolError, "broke the SSH protocol"),
    (asyncssh.DisconnectError(11, "Go\x1b[2Jaway."), SessionLost, r"during the handshake: go\?\[2"),
    (asyncssh.DisconnectError(11, ""), SessionLost, "no reason given"),
    (asyncssh.ConnectionLost("lost"), SessionLost, "before the SSH handshake was done"),
    (OSError("reset"), SessionLost, "before the SSH handshake was done"),
]


@pytest.mark.parametrize(("error", "kind", "said"), CASES)
def test_each_error_is_told_in_our_words(
    error: Exception, kind: type[SessionError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        raise translated(error)


def test_the_stage_is_told() -> None:
    lost = translated(asyncssh.ConnectionLost("lost"), accepted=True)
    assert str(lost) == "server.example:22 closed the connection during authentication"
    ended = translated(asyncssh.DisconnectError(11, "bye"), accepted=True)
    assert str(ended) == "server.example:22 ended the session during authentication: bye"


def test_a_host_key_that_we_refused_is_the_reason_whatever_the_library_says() -> None:
    refused = HostKeyError("not that one")
    error = translate(
        asyncssh.HostKeyNotVerifiable("no"),
        SETTINGS,
        refused_host_key=refused,
        host_key_accepted=False,
    )
    assert error is refused


def test_a_refusal_brings_the_line_that_the_server_needs() -> None:
    assert KEY.public.line() in (authentication_refused(SETTINGS).hint or "")
    without = authentication_refused(replace(SETTINGS, identities=[]))
    assert "there is none to offer" in str(without)
    assert "wraith keygen" in (without.hint or "")


def test_a_farewell_says_who_ended_it() -> None:
    reason = asyncssh.DisconnectError(11, "The server is shutting down.")
    assert farewell("s", reason) == "s ended the session: the server is shutting down"
    assert farewell("s", None) == "the session with s was closed"
    assert farewell("s", asyncssh.ConnectionLost("x")) == "the connection to s was lost"
    assert farewell("s", OSError()) == "the connection to s was lost"


def test_a_host_key_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(HostKeyError, match="cannot be read"):
        read_host_key(b"rubbish")
    plain, certificate = read_host_key(KEY.public.blob)
    assert plain.blob == KEY.public.blob
    assert certificate is None
