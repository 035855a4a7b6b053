"""Throw-away keys, certificates and revocation lists, all made by `ssh-keygen`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.peers.tools import require_tool


@dataclass(frozen=True)
class Key:
    """A key pair on disk; a certificate may lie beside it as OpenSSH expects."""

    path: Path

    @property
    def public(self) -> str:
        """The line for `authorized_keys`: type, key, comment."""
        return self.public_path.read_text().strip()

    @property
    def public_path(self) -> Path:
        return self.path.with_name(self.path.name + ".pub")

    @property
    def certificate_path(self) -> Path:
        return self.path.with_name(self.path.name + "-cert.pub")

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as OpenSSH prints it."""
        return _keygen("-l", "-f", self.public_path).split()[1]


def make_key(folder: Path, name: str = "key", kind: str = "ed25519") -> Key:
    """Make a key pair without passphrase: `ed25519`, `ecdsa` or `rsa`."""
    path = folder / name
    _keygen("-q", "-t", kind, "-N", "", "-C", f"{name}@interop", "-f", path)
    return Key(path)


def certify(
    key: Key,
    authority: Key,
    *,
    principals: Sequence[str] = (),
    valid: str = "-1h:+1h",
    options: Sequence[str] = (),
    serial: int = 1,
) -> Key:
    """Lay a user certificate of `authority` beside the key; an earlier one is replaced."""
    command: list[str | Path] = ["-q", "-s", authority.path, "-I", "interop", "-V", valid]
    command += ["-z", str(serial)]
    command += ["-n", ",".join(principals)] if principals else []
    for option in options:
        command += ["-O", option]
    _keygen(*command, key.public_path)
    return key


def without_certificate(key: Key, folder: Path) -> Key:
    """The same key pair in another folder, where no certificate lies beside it."""
    folder.mkdir()
    for path in (key.path, key.public_path):
        shutil.copy2(path, folder / path.name)
    return Key(folder / key.path.name)


def revocation_list(path: Path, *revoked: Path) -> Path:
    """Write a KRL that revokes these public keys or certificates."""
    _keygen("-q", "-k", "-f", path, *revoked)
    return path


def _keygen(*arguments: str | Path) -> str:
    tool = require_tool("ssh-keygen")
    run = subprocess.run(
        [tool, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
