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
        self._identities = self._read()

    def current(self) -> Identities:
        """The identities, fresh."""
        stamp = self._stamps()
        if stamp != self._stamp:
            self._stamp = stamp
            self.reload()
        return self._identities

    def reload(self, options: ServeOptions | None = None) -> None:
        """Read everything again; what cannot be read keeps its old value and is reported.

        With `options`, from the files that they name.
        """
        fresh = IdentityStore(options or self._options)
        try:
            fresh.load()
        except WraithError as error:
            log_event(_log, logging.ERROR, "keys not reloaded", reason=error.message)
            return
        self._options, self._files = fresh._options, fresh._files
        self._stamp, self._identities = fresh._stamp, fresh._identities
        log_event(_log, logging.INFO, "keys reloaded")

    def _stamps(self) -> Stamp:
        return tuple(_stamp(path) for path in self._files)

    def _read(self) -> Identities:
        authorized = self._read_authorized_keys()
        authorities = tuple(
            key for path in self._options.cert_authority for key in _read_public_keys(Path(path))
        )
        revoked = None
        if self._options.revoked_keys is not None:
            revoked = _read_revoked(Path(self._options.revoked_keys))
        return Identities(authorized, authorities, revoked)

    def _read_authorized_keys(self) -> AuthorizedKeys:
        options = self._options
        given = _parse("\n".join(options.authorize), "--authorize")
        if given.problems:
            raise UsageError(f"cannot use an --authorize key: {given.problems[0].text}")
        if isinstance(options.authorized_keys, bytes):
            source = "authorized_keys"
            text = options.authorized_keys.decode("utf-8", "replace")
        else:
            path = Path(options.authorized_keys or DEFAULT_AUTHORIZED_KEYS).expanduser()
            source, text = str(path), self._read_file(path)
        listed = _parse(text, source)
        for problem in listed.problems:
            log_event(
                _log,
                logging.WARNING,
                "authorized_keys line skipped",
                file=source,
                line=problem.line,
                reason=problem.text,
            )
        return AuthorizedKeys(given.entries + listed.entries, listed.problems, source)

    def _read_file(self, path: Path) -> str:
        """The text of authorized_keys; "" for a default file that is not there and not needed."""
        options = self._options
        others = bool(options.authorize or options.cert_authority)
        if options.authorized_keys is None and others and _missing(path):
            return ""
        if _missing(path):
            problem = "" if others else "nobody could log in: "
            raise UsageError(
                f"{problem}{path} does not exist",
                hint="put the clients' public keys there, or give them with "
                "--authorize 'ssh-ed25519 …'",
            )
        _refuse_writable(path)
        return _read(path).decode("utf-8", "replace")


def _parse(text: str, source: str) -> AuthorizedKeys:
    zone = datetime.datetime.now().astimezone().tzinfo
    return AuthorizedKeys.parse(text, source=source, timezone=zone or datetime.UTC)


def _missing(path: Path) -> bool:
    """Whether nothing is there, as far as we may look."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


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
        # In a sticky folder, such as /tmp, nobody can replace the file of another.
        sticky = stat.S_ISDIR(facts.st_mode) and bool(facts.st_mode & stat.S_ISVTX)
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
