"""The two ways that a session can take: the hot path, and the SSH library's ordinary one."""

from __future__ import annotations

import asyncssh
import pytest

from wraith.client.connect import Client
from wraith.ssh import client_session, server_session
from wraith.ssh.client_session import ClientSession
from wraith.values.address import Destination, TcpDestination

PATHS = {
    "both fast": (True, True),
    "stock server": (False, True),
    "stock client": (True, False),
    "both stock": (False, False),
}
"""Server and client: whether each takes the hot path."""


def take(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Let both sides take the path of this name."""
    server, client = PATHS[path]
    monkeypatch.setattr(server_session, "hot_path_available", lambda: server)
    monkeypatch.setattr(client_session, "hot_path_available", lambda: client)


def session_of(client: Client) -> ClientSession:
    """The client's live session."""
    session = client._manager.current
    assert isinstance(session, ClientSession)
    return session


async def ask_for(client: Client, destination: Destination) -> tuple[int, str] | None:
    """Open a channel and close it again; the code and the text of a refusal, as they came."""
    connection = session_of(client)._connection
    closed = _Closing()
    try:
        if isinstance(destination, TcpDestination):
            channel, _ = await connection.create_connection(
                lambda: closed, destination.host, destination.port, "127.0.0.1", 0
            )
            channel.close()
        else:
            unix_channel, _ = await connection.create_unix_connection(
                lambda: closed,  # type: ignore[arg-type,return-value]
                destination.path,
            )
            unix_channel.close()
    except asyncssh.ChannelOpenError as error:
        return error.code, error.reason
    return None


class _Closing(asyncssh.SSHTCPSession[bytes]):
    """Wants nothing."""
