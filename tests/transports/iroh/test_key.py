"""The secret key of an endpoint, on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from wraith.errors import IdentityError
from wraith.transports.iroh.key import read_key, read_or_make_key


def test_a_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "iroh.key"
    key = read_or_make_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert read_or_make_key(path) == read_key(path) == key


def test_two_at_once_agree_on_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "iroh.key"
    key = read_or_make_key(path)
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    assert read_or_make_key(path) == key


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "iroh.key"
    read_or_make_key(path)
    path.chmod(0o640)
    with pytest.raises(IdentityError, match="can be read by others") as caught:
        read_or_make_key(path)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("content", [b"", b"abc", b"zz" * 32, b"aa" * 31, b"aa" * 33, b"\xff" * 64])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "iroh.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match="not a key of 64 hex digits") as caught:
        read_or_make_key(path)
    assert not content or content.decode("latin1") not in str(caught.value)


def test_a_file_that_cannot_be_read_or_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="no such file"):
        read_key(tmp_path / "absent")
    with pytest.raises(IdentityError, match="is a directory"):
        read_key(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match=r"not a directory|file exists"):
        read_or_make_key(tmp_path / "file" / "iroh.key")
