"""The secret key of an endpoint, whose public half is its id: 64 hex digits in a private file."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from wraith.errors import IdentityError
from wraith.state.files import write_private
from wraith.values.iroh_peer import ID_BYTES


def read_key(path: Path) -> bytes:
    """The key in a file. Raises `IdentityError`, which never holds the key."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _unusable(path, (error.strerror or str(error)).lower()) from None
    if path.stat().st_mode & 0o077:
        raise IdentityError(f"the iroh key {path} can be read by others", hint=f"chmod 600 {path}")
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(text.decode("ascii", "replace").strip())
        if len(key) == ID_BYTES:
            return key
    raise _unusable(path, "it is not a key of 64 hex digits")


def read_or_make_key(path: Path) -> bytes:
    """The key in a file, made there on first use. Raises `IdentityError`."""
    if not path.exists():
        try:
            _make(path)
        except FileExistsError:
            pass  # somebody else was quicker
        except OSError as error:
            raise _unusable(path, (error.strerror or str(error)).lower()) from None
    return read_key(path)


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, secrets.token_hex(ID_BYTES).encode() + b"\n")


def _unusable(path: Path, reason: str) -> IdentityError:
    return IdentityError(
        f"the iroh key {path} cannot be used: {reason}", hint="name another with --iroh-key PATH"
    )
