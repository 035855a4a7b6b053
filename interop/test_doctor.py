"""`wraith doctor` beside a stock `sshd`, and at a server that is not there."""

from __future__ import annotations

import subprocess

import pytest

from interop.peers.keys import Key
from interop.peers.roles import Address, Server, ServerAsk, login_name, unused_port
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool


def _examine(stage: Stage, where: Address, key: Key, *words: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the verdict of each stage."""
    home = stage.home("doctor")
    options = ["--server", str(where), "--identity", str(key.path), "--user", login_name()]
    ended = subprocess.run(
        [str(require_tool("wraith")), "doctor", *options, "--socks5", "127.0.0.1:0", *words],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not any((home / "state").iterdir()), "nothing was recorded"
    lines = [line.split() for line in ended.stdout.splitlines() if line[:1].strip()]
    return ended.returncode, {words[1]: words[0] for words in lines}


@pytest.mark.parametrize(("role", "extras"), [("openssh", "warn"), ("wraith", "ok")])
def test_both_servers_are_found_well(stage: Stage, role: str, extras: str) -> None:
    key = stage.key()
    server: Server = stage.server(role, ServerAsk(authorized=[key.public]))
    pin = ["--host-key", server.host_key.fingerprint]
    code, verdicts = _examine(stage, server.address, key, *pin)
    assert code == 0, verdicts
    assert verdicts == {
        **dict.fromkeys(["socks5", "name", "tcp", "identity", "host-key"], "ok"),
        **dict.fromkeys(["authentication", "dns"], "ok"),
        **dict.fromkeys(["channel", "udp"], extras),
    }
    assert _examine(stage, server.address, key)[1]["host-key"] == "warn"


def test_a_stranger_and_a_closed_port(stage: Stage) -> None:
    server = stage.server("openssh", ServerAsk(authorized=[stage.key().public]))
    code, verdicts = _examine(stage, server.address, stage.key())
    assert (code, verdicts["authentication"]) == (1, "FAIL")
    with unused_port() as closed:
        code, verdicts = _examine(stage, closed, stage.key())
    assert (code, verdicts["tcp"]) == (1, "FAIL")
