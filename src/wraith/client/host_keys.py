"""Whether the server is the one that we think it is."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from wraith.client.options import ConnectOptions
from wraith.errors import HostKeyChanged, HostKeyError, HostKeyMismatch, HostKeyUnknown, UsageError
from wraith.policy.keys import PublicKey
from wraith.policy.known_hosts import (
    HostVerdict,
    Judgement,
    KnownHosts,
    KnownKeys,
    host_line,
    judge,
    judge_certificate,
    known_algorithms,
)
from wraith.ssh.client_session import read_host_key
from wraith.state.folder import state_dir
from wraith.streams.log_line import log_event

_log = logging.getLogger("wraith.client")

OPENSSH_KNOWN_HOSTS = Path("~/.ssh/known_hosts")


class HostKeys:
    """The host keys on record for one server, and the verdict on the one that it shows.

    A pinned key (`--host-key`) is the whole truth; else the record decides, and a server that is
    not on it is recorded on first use, once its signature has been checked.
    """

    def __init__(self, options: ConnectOptions) -> None:
        self._pin = options.host_key
        self._strict = options.strict_host_key
        self._host, self._port = options.known_host_name()
        self._server = options.make_transport().server
        named = options.known_hosts
        self._own = Path(named).expanduser() if named else state_dir() / "known_hosts"
        self._others = [] if named else [OPENSSH_KNOWN_HOSTS.expanduser()]
        self._known: list[KnownKeys] = []

    def __repr__(self) -> str:
        return f"<HostKeys {self._own}>"

    def load(self) -> None:
        """Read the records. Raises `UsageError` for one that is there and cannot be read."""
        self._known = [
            _read(path).lookup(self._host, self._port) for path in [self._own, *self._others]
        ]

    def known_key_types(self) -> list[str]:
        """The key types on record, so that the server is asked for one that can be compared."""
        return list(known_algorithms(self._known))

    def trusts_authorities(self) -> bool:
        """Whether a host certificate could convince us."""
        return not self._pin and any(known.authorities for known in self._known)

    def verify(self, blob: bytes) -> None:
        """Judge the key, or the certificate, that the server shows. Raises a `HostKeyError`."""
        key, certificate = read_host_key(blob)
        if self._pin:
            if key.fingerprint != self._pin:
                raise self._mismatch(key)
            return
        if certificate is not None:
            judgement = judge_certificate(certificate, self._host, self._known, now=time.time())
        else:
            judgement = judge(self._known, key)
        self._act_on(judgement, key)

    def _act_on(self, judgement: Judgement, key: PublicKey) -> None:
        verdict = judgement.verdict
        if verdict is HostVerdict.REVOKED:
            raise HostKeyError(f"the host key of {self._server} is revoked: {key.fingerprint}")
        if verdict is HostVerdict.INVALID_CERTIFICATE:
            raise HostKeyError(
                f"the host certificate of {self._server} is expired, or for another host"
            )
        if verdict is HostVerdict.CHANGED:
            raise self._changed(key, judgement)
        if verdict is HostVerdict.UNKNOWN and self._strict:
            raise HostKeyUnknown(
                f"{self._server} is not on record; it shows {key.fingerprint}",
                hint=f"compare it with what the server prints on start, then give it with "
                f"--host-key {key.fingerprint}",
            )

    def _mismatch(self, key: PublicKey) -> HostKeyMismatch:
        return HostKeyMismatch(
            f"{self._server} shows another host key than the one asked for: "
            f"it shows {key.fingerprint}, asked for is {self._pin}",
            hint="if the server was set up anew, give the key that it prints on start; "
            "if not, somebody may be in between",
        )

    def _changed(self, key: PublicKey, judgement: Judgement) -> HostKeyChanged:
        known = judgement.known[0]
        return HostKeyChanged(
            f"the host key of {self._server} has changed: it shows {key.fingerprint}, "
            f"on record is {known.key.fingerprint}",
            hint=f"if the server was set up anew, remove line {known.line} of {known.source}; "
            "if not, somebody may be in between",
        )

    def knows(self, blob: bytes) -> bool:
        """Whether a key that was accepted is pinned, on record or certified."""
        key, certificate = read_host_key(blob)
        known = judge(self._known, key).verdict is HostVerdict.TRUSTED
        return bool(self._pin) or certificate is not None or known

    def remember(self, blob: bytes) -> None:
        """Record a server seen for the first time; to be called once its signature is checked."""
        if self.knows(blob):
            return
        key, _ = read_host_key(blob)
        try:
            _append(self._own, host_line(self._host, self._port, key))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            log_event(_log, logging.WARNING, "host key not recorded", reason=reason)
            return
        log_event(
            _log,
            logging.WARNING,
            "host key recorded on first use",
            server=self._server,
            host_key=key.fingerprint,
            file=self._own,
        )
        self.load()


def _read(path: Path) -> KnownHosts:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot read {path}: {reason}") from error
    return KnownHosts.parse(text, source=str(path))


def _append(path: Path, line: str) -> None:
    """Add a line in one write, so that two clients at once cannot mix theirs."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
        unended = bool(size) and file.read(1) != b"\n"
        file.write((b"\n" if unended else b"") + line.rstrip("\n").encode() + b"\n")
