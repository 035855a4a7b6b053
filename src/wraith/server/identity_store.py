"""Who may enter, as the files say now.

The files are looked at for each log-in, as OpenSSH does, and read again when they have changed: a
key that was added works at once, one that was removed no longer does. A file that cannot be read
any more keeps what was read last, and is reported.
"""

from __future__ import annotations

import datetime
import logging
import os
import stat
from pathlib import Path

from wraith.errors import UsageError, WraithError
from wraith.policy.authorized_keys import AuthorizedKeys
from wraith.policy.identity import Identities
from wraith.policy.keys import PublicKey, parse_public_key_line
from wraith.policy.revoked_keys import RevokedKeys
from wraith.server.options import ServeOptions
from wraith.streams.log_line import log_event

_log = logging.getLogger("wraith.server")

DEFAULT_AUTHORIZED_KEYS = Path("~/.ssh/authorized_keys")

Stamp = tuple[tuple[int, int, int], ...]


class IdentityStore:
    """The identities of one server, read again when their files change."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._files = self._find_files()
        self._stamp: Stamp = ()
        self._identities: Identities

    def __repr__(self) -> str:
        return f"<IdentityStore files={len(self._files)}>"

    def _find_files(self) -> list[Path]:
        options = self._options
        named = [*options.cert_authority]
        if options.revoked_keys is not None:
            named.append(options.revoked_keys)
        if isinstance(options.authorized_keys, str | Path):
            named.append(options.authorized_keys)
        elif options.authorized_keys is None:
            named.append(DEFAULT_AUTHORIZED_KEYS)
        return [Path(item).expanduser() for item in named]

    def load(self) -> None:
        """Read everything for the first time. Raises `UsageError` or another `WraithError`."""
        self._stamp = self._stamps()
        self._identities = self._read(first=True)

    def current(self) -> Identities:
        """The identities, fresh."""
        stamp = self._stamps()
        if stamp != self._stamp:
            self._stamp = stamp
            self.reload()
        return self._identities

    def reload(self) -> None:
        """Read everything again; what cannot be read keeps its old value and is reported."""
        try:
            self._identities = self._read(first=False)
        except WraithError as error:
            log_event(_log, logging.ERROR, "keys not reloaded", reason=error.message)
        else:
            log_event(_log, logging.INFO, "keys reloaded")

    def _stamps(self) -> Stamp:
        return tuple(_stamp(path) for path in self._files)

    def _read(self, *, first: bool) -> Identities:
        authorized = self._read_authorized_keys(first=first)
        authorities = tuple(
            key for path in self._options.cert_authority for key in _read_public_keys(Path(path))
        )
        revoked = None
        if self._options.revoked_keys is not None:
            revoked = _read_revoked(Path(self._options.revoked_keys))
        return Identities(authorized, authorities, revoked)

    def _read_authorized_keys(self, *, first: bool) -> AuthorizedKeys:
        options = self._options
        text = "".join(line.rstrip("\n") + "\n" for line in options.authorize)
        source = "--authorize"
        if isinstance(options.authorized_keys, bytes):
            text += options.authorized_keys.decode("utf-8", "replace")
            source = "authorized_keys"
        else:
            path = Path(options.authorized_keys or DEFAULT_AUTHORIZED_KEYS).expanduser()
            text, source = text + self._read_file(path, first=first), str(path)
        zone = datetime.datetime.now().astimezone().tzinfo
        keys = AuthorizedKeys.parse(text, source=source, timezone=zone or datetime.UTC)
        for problem in keys.problems:
            log_event(
                _log,
                logging.WARNING,
                "authorized_keys line skipped",
                file=source,
                line=problem.line - len(options.authorize),
                reason=problem.text,
            )
        return keys

    def _read_file(self, path: Path, *, first: bool) -> str:
        """The text of authorized_keys; "" for a default file that is not there and not needed."""
        options = self._options
        others = bool(options.authorize or options.cert_authority)
        if not path.exists() and options.authorized_keys is None and others:
            return ""
        if not path.exists() and first:
            raise UsageError(
                f"nobody could log in: {path} does not exist",
                hint="put the clients' public keys there, or name one with "
                "--authorize 'ssh-ed25519 …'",
            )
        _refuse_writable(path)
        return _read(path).decode("utf-8", "replace")


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (0, 0, 0)
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _read(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def _refuse_writable(path: Path) -> None:
    """Refuse a file that others may write, as sshd's StrictModes does (sshd_config(5))."""
    if os.name != "posix":
        return
    for item in (path, path.parent):
        try:
            facts = item.stat()
        except OSError as error:
            raise UsageError(
                f"cannot read {path}: {(error.strerror or str(error)).lower()}"
            ) from error
        sticky = bool(facts.st_mode & stat.S_ISVTX)
        if facts.st_mode & 0o022 and not sticky:
            raise UsageError(
                f"{item} may be written by others (mode {facts.st_mode & 0o7777:04o})",
                hint=f"close it with: chmod go-w {item}",
            )
        if facts.st_uid not in (0, os.geteuid()):
            raise UsageError(f"{item} belongs to another user")


def _read_public_keys(path: Path) -> list[PublicKey]:
    keys = []
    for line in _read(path).decode("utf-8", "replace").splitlines():
        text = line.strip()
        if text and not text.startswith("#"):
            try:
                keys.append(parse_public_key_line(text)[0])
            except ValueError as error:
                raise UsageError(f"{path} is not a file of public keys: {error}") from None
    if not keys:
        raise UsageError(f"{path} holds no public key")
    return keys


def _read_revoked(path: Path) -> RevokedKeys:
    try:
        return RevokedKeys.parse(_read(path))
    except ValueError as error:
        raise UsageError(f"{path} is neither a KRL nor a list of keys: {error}") from None
