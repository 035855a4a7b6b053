"""Where Wraith keeps what it made."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wraith.state import folder


def test_the_state_directory_is_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRAITH_STATE_DIR", str(tmp_path / "here"))
    assert folder.make_state_dir() == tmp_path / "here"
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("WRAITH_STATE_DIR")
    elsewhere: Any = SimpleNamespace(user_state_dir=lambda name: f"/var/{name}")
    monkeypatch.setattr(folder, "platformdirs", elsewhere)
    assert os.fspath(folder.state_dir()) == "/var/wraith"


def test_a_runtime_folder_outside_a_session_is_no_news(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    for name in ("XDG_RUNTIME_DIR", "WRAITH_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert folder.runtime_dir().name == "wraith"
    assert not recwarn.list
