"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from wraith.state.files import replace_private, write_private


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys" / "id"


def nothing_beside(path: Path) -> bool:
    return [item for item in path.parent.iterdir() if item != path] == []


def test_a_file_is_never_written_over_another(path: Path) -> None:
    write_private(path, b"first")
    with pytest.raises(FileExistsError):
        write_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert nothing_beside(path)


def test_one_that_may_be_replaced_is_replaced_whole(path: Path) -> None:
    path.write_bytes(b"open to all")
    path.chmod(0o644)
    replace_private(path, b"ours")
    assert path.read_bytes() == b"ours"
    assert path.stat().st_mode & 0o777 == 0o600
    assert nothing_beside(path)


def test_what_cannot_be_replaced_leaves_nothing_behind(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_private(path, b"ours")
    assert nothing_beside(path)


@pytest.mark.parametrize("write", [write_private, replace_private])
def test_a_full_disk_leaves_what_was_there(
    write: object, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"before")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"after")  # type: ignore[operator]
    assert path.read_bytes() == b"before"
    assert nothing_beside(path)
