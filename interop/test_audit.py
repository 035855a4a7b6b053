"""What a security scanner says about the server."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from interop.peers.roles import ServerAsk
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool

CLASSICAL = "curve25519-sha256"
"""The one key exchange for clients without post-quantum ones; every scanner warns about it."""


def test_ssh_audit_finds_nothing_to_fail(stage: Stage) -> None:
    server = stage.server("wraith", ServerAsk(authorized=[stage.key().public]))
    report = _audit(stage, server.address.port)

    failures = list(_notes(report, "fail"))
    warnings = [name for name, _ in _notes(report, "warn") if not name.startswith(CLASSICAL)]
    assert (failures, warnings, report["cves"]) == ([], [], [])
    kinds = {entry["algorithm"] for entry in report["key"]}
    assert kinds == {"ssh-ed25519"}


@pytest.mark.parametrize("offered", ["mlkem768x25519-sha256", CLASSICAL])
def test_key_exchanges_for_new_and_for_old_clients(stage: Stage, offered: str) -> None:
    server = stage.server("wraith", ServerAsk(authorized=[stage.key().public]))
    report = _audit(stage, server.address.port)
    assert offered in {entry["algorithm"] for entry in report["kex"]}


def _audit(stage: Stage, port: int) -> dict[str, Any]:
    run = subprocess.run(
        [require_tool("ssh-audit"), "--json", "-p", str(port), "127.0.0.1"],
        env=clean_environment(stage.home("audit")),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.stdout, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def _notes(report: dict[str, Any], level: str) -> list[tuple[str, str]]:
    return [
        (entry["algorithm"], note)
        for kind in ("kex", "key", "enc", "mac")
        for entry in report[kind]
        for note in entry.get("notes", {}).get(level, [])
    ]
