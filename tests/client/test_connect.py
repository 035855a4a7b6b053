"""What a client says of its session: the reason, and the next step where there is one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

import wraith


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_who_waits_for_a_server_that_is_no_ssh_server_is_told_what_to_look_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key()
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        options = wraith.ConnectOptions(
            server=f"127.0.0.1:{port}",
            identity=[key],
            known_hosts=tmp_path / "known_hosts",
            retry_first_attempt=True,
        )
        async with wraith.connect(options), asyncio.timeout(10):
            while "session waiting" not in caplog.text:
                await asyncio.sleep(0.01)
    (line,) = [each for each in caplog.messages if each.startswith("session waiting")]
    assert "before the SSH handshake was done" in line
    assert 'hint="check the port; SSH inside TLS is --transport tls' in line
