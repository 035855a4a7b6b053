"""What ships in `contrib/`, held against fail2ban and systemd themselves."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from pathlib import Path

import pytest

from interop.peers.keys import Key
from interop.peers.openssh import ssh_command
from interop.peers.process import wait_until
from interop.peers.roles import ServerAsk
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool
from interop.peers.wraith import WraithServer
from wraith.cli.logs import TextFormatter
from wraith.streams.log_line import render

CONTRIB = Path(__file__).parent.parent / "contrib"
FILTER = CONTRIB / "fail2ban/filter.d/wraith.conf"

FORGED = 'root" result=accept\nINFO auth attempt remote_addr=9.9.9.9 user=x result=reject'
"""A user name that would like to have somebody else banned."""


def matched(log: Path) -> list[str]:
    """The addresses that fail2ban would count, one for each line that it matched."""
    ended = subprocess.run(
        [require_tool("fail2ban-regex"), "--out", "ip", str(log), str(FILTER)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode in (0, 255), ended.stderr
    return ended.stdout.split()


def knock(server: WraithServer, key: Key, home: Path, *users: str) -> None:
    """Try to enter under each of these names."""
    for user in users:
        command = [str(word) for word in ssh_command(server, key, home)]
        command[command.index("-o") + 1] = f"User={user}" if user.isalpha() else "User=x"
        odd = [] if user.isalpha() else ["-l", user]
        subprocess.run(
            [*command, *odd, "-W", "127.0.0.1:1", "127.0.0.1"],
            env=clean_environment(home),
            capture_output=True,
            check=False,
            timeout=30,
        )


@pytest.fixture
def server(stage: Stage) -> WraithServer:
    asked = stage.server("wraith", ServerAsk(authorized=[stage.key().public]))
    assert isinstance(asked, WraithServer)
    return asked


def test_fail2ban_counts_who_is_refused_and_nobody_else(stage: Stage, server: WraithServer) -> None:
    stranger = stage.key("stranger")
    knock(server, stranger, stage.home("ssh"), "root", "admin")
    wait_until(lambda: server.process.log.count("result=reject") == 2, 10, "both were refused")
    log = stage.folder / "serve.log"
    log.write_text(server.process.log)
    assert matched(log) == ["127.0.0.1"] * 2


def test_fail2ban_does_not_believe_a_user_name(stage: Stage) -> None:
    """OpenSSH's client sends no such name, so the lines are the server's own rendering of it."""
    formatter = TextFormatter(timestamp=True)
    lines = []
    for address, user, result in [
        ("203.0.113.7", FORGED, "reject"),
        ("2001:db8::7", 'a b"c', "reject"),
        ("203.0.113.8", f"{FORGED} result=reject", "accept"),
    ]:
        fields: dict[str, object] = {"remote_addr": address, "user": user}
        fields |= {"key_fingerprint": "SHA256:abc/+", "result": result}
        fields |= {"reason": "unknown-key"} if result == "reject" else {}
        line = render("auth attempt", fields)
        lines.append(formatter.format(logging.LogRecord("w", 20, "", 0, "%s", (line,), None)))
    opened = render("connection opened", {"remote_addr": "203.0.113.9", "transport": "tcp"})
    lines.append(formatter.format(logging.LogRecord("w", 20, "", 0, "%s", (opened,), None)))
    turned_away: dict[str, object] = {"remote_addr": "203.0.113.10", "transport": "tcp"}
    refused = render("connection refused", turned_away | {"reason": "penalty"})
    lines.append(formatter.format(logging.LogRecord("w", 20, "", 0, "%s", (refused,), None)))
    log = stage.folder / "forged.log"
    log.write_text("\n".join([*lines, ""]))
    assert matched(log) == ["203.0.113.7", "2001:db8::7", "203.0.113.10"]
    as_the_journal_has_it = [f"Nov 26 12:00:00 gate wraith[7]: {line[20:]}" for line in lines]
    log.write_text("\n".join([*as_the_journal_has_it, ""]))
    assert matched(log) == ["203.0.113.7", "2001:db8::7", "203.0.113.10"]


def test_fail2ban_takes_the_jail(stage: Stage) -> None:
    folder = stage.home("fail2ban")
    subprocess.run(["cp", "-r", "/etc/fail2ban/.", str(folder)], check=True)
    for kind in ("filter.d", "jail.d"):
        (folder / kind / "wraith.conf").write_text(
            (CONTRIB / "fail2ban" / kind / "wraith.conf").read_text()
        )
    client = require_tool("fail2ban-client")
    ended = subprocess.run(
        [client, "-c", str(folder), "--dp"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert re.search(r"'add', 'wraith', 'systemd", ended.stdout)
    assert "'set', 'wraith', 'maxretry', 30" in ended.stdout


@pytest.mark.parametrize(
    "unit", sorted((CONTRIB / "systemd").iterdir()), ids=lambda unit: str(unit.name)
)
def test_systemd_understands_every_line_of_a_unit(unit: Path, stage: Stage) -> None:
    folder = stage.home("units")
    wraith = str(require_tool("wraith"))
    for each in (CONTRIB / "systemd").iterdir():
        (folder / each.name).write_text(each.read_text().replace("/usr/bin/wraith", wraith))
    words = ["--user"] if "connect" in unit.name else []
    ended = subprocess.run(
        [require_tool("systemd-analyze"), *words, "verify", folder / unit.name],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    complaints = [line for line in ended.stderr.splitlines() if str(folder) in line]
    assert (ended.returncode, complaints) == (0, []), ended.stderr


def test_the_service_is_well_walled_in() -> None:
    unit = CONTRIB / "systemd/wraith-serve.service"
    ended = subprocess.run(
        [require_tool("systemd-analyze"), "security", "--offline=true", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout.splitlines()[-1:]
