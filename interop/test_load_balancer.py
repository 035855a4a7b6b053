"""A real load balancer in front of the server, that says for whom it connects."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interop.peers.keys import Key
from interop.peers.openssh import ssh_command
from interop.peers.origins import Echo
from interop.peers.process import wait_until
from interop.peers.roles import Address, Server, ServerAsk, free_port
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool
from interop.peers.transfer import open_stream

CLIENT = "127.0.0.5"
"""The address that the client comes from; the balancer itself is 127.0.0.1."""

CONFIG = """\
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen ssh
    bind 127.0.0.1:{port}
    server wraith {server} {send}
"""


def _balancer(stage: Stage, server: Server, send: str) -> Address:
    port = free_port()
    config = stage.home("haproxy") / "haproxy.cfg"
    config.write_text(CONFIG.format(port=port, server=server.address, send=send))
    stage.process([require_tool("haproxy"), "-db", "-f", config])
    where = Address("127.0.0.1", port)
    wait_until(lambda: _answers(where), 10, "the balancer listens")
    return where


def _answers(where: Address) -> bool:
    try:
        open_stream(where).close()
    except OSError:
        return False
    return True


def _echo_through(server: Server, where: Address, key: Key, home: Path, far: Echo) -> bytes:
    command = [str(word) for word in ssh_command(server, key, home)]
    known = home / "known_hosts"
    known.write_text(f"[{where.host}]:{where.port} {server.host_key.public}\n")
    command[command.index(f"Port={server.address.port}")] = f"Port={where.port}"
    ended = subprocess.run(
        [*command, "-b", CLIENT, "-W", str(far.address), where.host],
        env=clean_environment(home),
        input=b"hello",
        capture_output=True,
        check=False,
        timeout=30,
    )
    return ended.stdout


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2", "send-proxy-v2 check"])
def test_limits_keys_and_logs_are_about_the_client(
    stage: Stage, far_echo: Echo, send: str, workers: str
) -> None:
    key = stage.key()
    ask = ServerAsk(
        authorized=[f'from="{CLIENT}" {key.public}'],
        extra=["--trust-proxy", "127.0.0.1", "--workers", workers],
    )
    server = stage.server("wraith", ask)
    where = _balancer(stage, server, send)
    assert _echo_through(server, where, key, stage.home("ssh"), far_echo) == b"hello"
    assert f"connection opened remote_addr={CLIENT}" in server.process.log


def test_without_the_header_the_balancer_is_turned_away(stage: Stage, far_echo: Echo) -> None:
    key = stage.key()
    ask = ServerAsk(authorized=[key.public], extra=["--trust-proxy", "127.0.0.1"])
    server = stage.server("wraith", ask)
    where = _balancer(stage, server, "")
    assert _echo_through(server, where, key, stage.home("ssh"), far_echo) == b""
    assert "reason=proxy-header-bad" in server.process.log
    assert _echo_through(server, server.address, key, stage.home("ssh"), far_echo) == b"hello", (
        "whoever comes from elsewhere needs none"
    )
