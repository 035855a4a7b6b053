"""The first attempt of `wraith connect`: what ends it, and what it says then."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from interop.peers import socks
from interop.peers.keys import Key, certify
from interop.peers.origins import Echo
from interop.peers.process import Process
from interop.peers.roles import Pair, Server, ServerAsk, login_name
from interop.peers.stage import Stage
from interop.peers.tools import require_tool
from interop.peers.transfer import echo
from interop.peers.wraith import connect_options

pytestmark = pytest.mark.pairs(client="wraith")

SOCKS = ("--socks5", "127.0.0.1:0")


def connect(
    stage: Stage, server: Server, key: Key, *options: str | Path, env: dict[str, str] | None = None
) -> Process:
    """Start `wraith connect` and let it decide for itself what to do."""
    command = [require_tool("wraith"), "connect", *connect_options(server, key), *SOCKS, *options]
    return stage.process(command, **(env or {}))


def last_words(process: Process, exit_code: int = 1) -> str:
    """Wait for the end, and return what the program said about it: a few lines at most."""
    assert process.wait(15) == exit_code, process.log
    assert "Traceback" not in process.log
    lines = [line for line in process.log.splitlines() if line.strip()]
    assert 0 < len(lines) <= 12, process.log
    return process.log


def pin(server: Server) -> Sequence[str]:
    return ("--host-key", server.host_key.fingerprint)


class TestARefusedKey:
    def test_that_the_server_does_not_know(self, stage: Stage, pair: Pair) -> None:
        server = stage.server(pair.server, ServerAsk(authorized=[stage.key().public]))
        stranger = stage.key()
        said = last_words(connect(stage, server, stranger, *pin(server)))
        assert stranger.public.split()[1] in said, "the very line that authorized_keys needs"

    @pytest.mark.parametrize("options", ['from="10.0.0.0/8"', 'expiry-time="20200101"'])
    def test_that_may_not_come_in_now(self, stage: Stage, pair: Pair, options: str) -> None:
        key = stage.key()
        server = stage.server(pair.server, ServerAsk(authorized=[f"{options} {key.public}"]))
        last_words(connect(stage, server, key, *pin(server)))

    def test_whose_certificate_has_expired(self, stage: Stage, pair: Pair) -> None:
        authority = stage.key("authority")
        key = certify(stage.key(), authority, principals=["me"], valid="-2h:-1h")
        server = stage.server(pair.server, ServerAsk(authorities=[authority]))
        last_words(connect(stage, server, key, *pin(server)))

    def test_that_does_not_exist(self, stage: Stage, pair: Pair) -> None:
        server = stage.server(pair.server, ServerAsk(authorized=[stage.key().public]))
        nothing = Key(stage.folder / "no-such-key")
        assert "no-such-key" in last_words(connect(stage, server, nothing, *pin(server)))


def test_a_certificate_beside_the_key_is_used(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    authority = stage.key("authority")
    key = certify(stage.key(), authority, principals=[login_name()])
    server = stage.server(pair.server, ServerAsk(authorities=[authority]))
    with socks.connect(stage.client("wraith", server, key).socks, far_echo.address) as stream:
        echo(stream)


class TestTheHostKey:
    def test_another_than_the_pinned_one(self, stage: Stage, pair: Pair) -> None:
        key, other = stage.key(), stage.key("other")
        server = stage.server(pair.server, ServerAsk(authorized=[key.public]))
        said = last_words(connect(stage, server, key, "--host-key", other.fingerprint))
        assert {other.fingerprint, server.host_key.fingerprint} <= fingerprints(said)

    def test_another_than_the_one_on_record(self, stage: Stage, pair: Pair) -> None:
        key, before = stage.key(), stage.key("before")
        server = stage.server(pair.server, ServerAsk(authorized=[key.public]))
        record = stage.folder / "known_hosts"
        host, port = server.address
        record.write_text(f"[{host}]:{port} {before.public}\n")
        said = last_words(connect(stage, server, key, "--known-hosts", record))
        assert {before.fingerprint, server.host_key.fingerprint} <= fingerprints(said)
        assert before.public.split()[1] in record.read_text(), "the record stays as it was"

    def test_is_recorded_at_first_and_checked_later(self, stage: Stage, pair: Pair) -> None:
        key, state = stage.key(), stage.home("state")
        server = stage.server(pair.server, ServerAsk(authorized=[key.public]))
        env = {"WRAITH_STATE_DIR": str(state)}
        first = connect(stage, server, key, env=env)
        first.wait_for_log(lambda log: server.host_key.fingerprint in log)
        first.stop()
        again = connect(stage, server, key, "--strict-host-key", env=env)
        again.wait_for_log(lambda log: str(server.address) in log or "connected" in log)
        assert again.running
        again.stop()
        server.stop()
        server.host_key = stage.key("new")
        server.start()
        said = last_words(connect(stage, server, key, env=env))
        assert server.host_key.fingerprint in fingerprints(said)

    def test_unknown_where_one_was_demanded(self, stage: Stage, pair: Pair) -> None:
        key = stage.key()
        server = stage.server(pair.server, ServerAsk(authorized=[key.public]))
        said = last_words(connect(stage, server, key, "--strict-host-key"))
        assert server.host_key.fingerprint in fingerprints(said)


class TestUsage:
    @pytest.mark.parametrize(
        "options", [["--no-such-option"], ["-L", "nonsense"], ["--keepalive", "-1"]]
    )
    def test_options_that_make_no_sense(self, stage: Stage, pair: Pair, options: list[str]) -> None:
        key = stage.key()
        server = stage.server(pair.server, ServerAsk(authorized=[key.public]))
        last_words(connect(stage, server, key, *options), exit_code=2)

    def test_a_local_port_that_is_taken(self, stage: Stage, pair: Pair, far_echo: Echo) -> None:
        key = stage.key()
        server = stage.server(pair.server, ServerAsk(authorized=[key.public]))
        taken = f"{far_echo.address.port}:127.0.0.1:1"
        said = last_words(connect(stage, server, key, *pin(server), "-L", taken))
        assert f"{far_echo.address.port}" in said

    def test_a_remote_port_that_is_taken(self, stage: Stage, pair: Pair, far_echo: Echo) -> None:
        key = stage.key()
        server = stage.server(pair.server, ServerAsk(authorized=[key.public]))
        taken = f"{far_echo.address}:127.0.0.1:1"
        options = [*pin(server), "-R", taken, "--exit-on-forward-failure"]
        assert "refused to listen" in last_words(connect(stage, server, key, *options))


def test_a_server_that_is_not_there_yet_is_waited_for(
    stage: Stage, pair: Pair, far_echo: Echo
) -> None:
    key = stage.key()
    server = stage.server(pair.server, ServerAsk(authorized=[key.public]))
    server.stop()
    late = threading.Timer(0.5, server.start)
    late.start()
    begun = time.monotonic()
    client = stage.client("wraith", server, key)
    late.join()
    assert time.monotonic() - begun < 6
    with socks.connect(client.socks, far_echo.address) as stream:
        echo(stream)


def fingerprints(text: str) -> set[str]:
    """Find every key fingerprint in a text, however its lines are wrapped."""
    return set(re.findall(r"SHA256:[A-Za-z0-9+/]{43}", text))
