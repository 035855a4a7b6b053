"""`wraith doctor serve`: what would keep a server from its start."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from wraith.server.doctor import examine
from wraith.server.options import ServeOptions
from wraith.ssh.keys import generate
from wraith.values.finding import Finding, Verdict

USER = generate("user")


def examined(**options: Any) -> dict[str, Finding]:
    usual = {"listen": ["127.0.0.1:0"], "authorize": [USER.public.line()]}
    return {found.stage: found for found in examine(ServeOptions(**{**usual, **options}))}


def test_where_all_is_well(tmp_path: Path) -> None:
    found = examined(rules=["deny loopback"], listen=["127.0.0.1:0", "iroh://"])
    assert {each.verdict for each in found.values()} - {Verdict.OK} <= {Verdict.WARN}
    assert "will be made on the first start" in found["host-key"].text
    assert found["rules"].verdict is Verdict.OK
    assert not any(tmp_path.rglob("host_ed25519")), "and was not made now"
    assert examined(key=generate().export())["host-key"].verdict is Verdict.OK


def test_what_is_amiss_is_told_with_the_next_step(tmp_path: Path) -> None:
    key = tmp_path / "host"
    key.write_bytes(generate().export())
    key.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = examined(
            key=key,
            authorize=[],
            authorized_keys=tmp_path / "nowhere",
            listen=[f"127.0.0.1:{taken.getsockname()[1]}"],
        )
    assert (found["host-key"].verdict, found["host-key"].hint) == (
        Verdict.WARN,
        f"chmod 600 {key}",
    )
    assert found["authorized-keys"].verdict is Verdict.FAIL
    assert "already in use" in found["listen"].text
    assert found["rules"].verdict is Verdict.WARN
    key.chmod(0o600)
    assert examined(key=key)["host-key"].verdict is Verdict.OK
    key.write_text("no key")
    assert examined(key=key)["host-key"].verdict is Verdict.FAIL
    assert examined(key=tmp_path)["host-key"].verdict is not Verdict.OK


def test_few_descriptors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 524_288))
    found = examined()["descriptors"]
    assert (found.verdict, found.text[:4]) == (Verdict.WARN, "1024")
    assert "ulimit -n 65536" in found.hint
