from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command import Material, make_material


@pytest.fixture(autouse=True)
def no_options_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without keys, and an environment that says nothing of Wraith."""
    for name in [name for name in os.environ if name.startswith("WRAITH_")]:
        if name not in ("WRAITH_STATE_DIR", "WRAITH_RUNTIME_DIR"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return make_material(tmp_path / "keys")
