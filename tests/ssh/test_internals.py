"""The one list of the SSH library's internals that we touch: they are where we expect them."""

from __future__ import annotations

import asyncio
import logging

import asyncssh
import pytest
from asyncssh.connection import SSHClientConnection, SSHServerConnection

from wraith.ssh import client_session, server_session
from wraith.ssh.connection import INTERNALS, SILENCE, ConnectionMixin
from wraith.ssh.keys import generate
from wraith.testing import Loopback


def test_the_library_is_the_version_that_we_know() -> None:
    assert asyncssh.__version__.startswith("2.24.")


async def test_every_internal_name_exists() -> None:
    settings = server_session.server_settings(generate(), version="test")
    connection = SSHServerConnection(asyncio.get_running_loop(), settings.options)
    for name in INTERNALS:
        assert hasattr(connection, name), name


@pytest.mark.parametrize("theirs", [SSHClientConnection, SSHServerConnection])
def test_what_we_override_is_there_to_be_overridden(theirs: type) -> None:
    for name in ("data_received", "pause_writing", "add_channel", "remove_channel"):
        assert callable(getattr(theirs, name))
        assert name in vars(ConnectionMixin)


def test_the_host_key_verdict_is_ours() -> None:
    assert "validate_server_host_key" in vars(client_session._Connection)
    assert "validate_server_host_key" in vars(SSHClientConnection)


def test_the_verdict_on_keys_is_ours() -> None:
    for name in ("validate_public_key", "reload_config"):
        assert name in vars(server_session._Connection)
        assert name in vars(SSHServerConnection)


async def test_the_library_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        SILENCE.info("to %s", ("secret.example", 1))
        SILENCE.get_child("x", "y").debug1("to secret.example")
        async with Loopback() as tunnel:
            with pytest.raises(Exception, match=r".*"):
                await tunnel.client.open_connection("secret.invalid", 1)
    assert "secret" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("asyncssh")]
