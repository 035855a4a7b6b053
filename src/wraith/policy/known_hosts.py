"""Is a server the one it was? The known_hosts format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

    gw.example.com ssh-ed25519 AAAA…                 on port 22
    [gw.example.com]:443,[192.0.2.1]:443 ssh-…       on another port
    |1|c2FsdA…=|aGFzaA…= ssh-ed25519 AAAA…           the name hashed (HashKnownHosts)
    @cert-authority *.example.com,!bad.* ssh-…       an authority, for hosts by pattern
    @revoked * ssh-ed25519 AAAA…                     a key that nobody may have

Look a host up in every file there is, and let `judge` or `judge_certificate` decide.

Differs from ssh(1) in one point: for a host whose keys are on record, another type of key is a
changed key too, not a new one. Else whoever sits in between would only have to offer a type that
is not on record. `known_algorithms` says what to ask the server for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Self

from wraith.policy.keys import CertificateFacts, PublicKey, parse_public_key_line
from wraith.policy.openssh_patterns import match_pattern, match_pattern_list
from wraith.policy.problem import Problem

DEFAULT_PORT = 22

_AUTHORITY = "@cert-authority"
_REVOKED = "@revoked"

# What a plain name cannot hold without becoming a pattern, a list, a hash, a marker or two fields.
_NOT_IN_A_NAME = frozenset(" \t\r\n,*?!|@#[]")


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key on record, with the file and the line that say so."""

    key: PublicKey
    line: int
    source: str


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """What one file says of one host."""

    keys: tuple[KnownKey, ...] = ()
    authorities: tuple[KnownKey, ...] = ()
    revoked: tuple[KnownKey, ...] = ()


class HostVerdict(Enum):
    """What a host key is."""

    TRUSTED = auto()
    UNKNOWN = auto()  # nothing on record: the one to ask about, or to record
    CHANGED = auto()  # others are on record
    REVOKED = auto()
    INVALID_CERTIFICATE = auto()  # by a trusted authority, but expired or for other hosts


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and the keys on record that speak for it or against it."""

    verdict: HostVerdict
    known: tuple[KnownKey, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    marker: str
    hosts: str
    known: KnownKey

    def matches(self, name: str) -> bool:
        if self.hosts.startswith("|"):
            salt, digest = _split_hash(self.hosts)
            return hmac.digest(salt, name.encode(), hashlib.sha1) == digest
        return match_pattern_list(name, self.hosts, ignore_case=True) is True


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The entries of one file, in its order, and the lines that say nothing usable."""

    entries: tuple[_Entry, ...] = field(default=(), repr=False)
    problems: tuple[Problem, ...] = ()
    source: str = ""

    @classmethod
    def parse(cls, text: str, *, source: str) -> Self:
        """Read a whole file, called `source` in messages; nothing is raised."""
        entries, problems = [], []
        for number, line in enumerate(text.split("\n"), start=1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            try:
                entries.append(_parse_line(stripped, number, source))
            except ValueError as error:
                problems.append(Problem(number, str(error)))
        return cls(tuple(entries), tuple(problems), source)

    def lookup(self, host: str, port: int) -> KnownKeys:
        """Return what the file says of `host`, a name or an address without brackets."""
        name = host_name(host, port)
        found = [entry for entry in self.entries if entry.matches(name)]
        return KnownKeys(
            keys=tuple(entry.known for entry in found if not entry.marker),
            authorities=tuple(entry.known for entry in found if entry.marker == _AUTHORITY),
            revoked=tuple(entry.known for entry in found if entry.marker == _REVOKED),
        )


def host_name(host: str, port: int) -> str:
    """Return what known_hosts calls a host: `host` on port 22, and else `[host]:port`."""
    return host.lower() if port == DEFAULT_PORT else f"[{host.lower()}]:{port}"


def host_line(host: str, port: int, key: PublicKey) -> str:
    """Return the line, without its end, that puts a key on record.

    Raises `ValueError` for a `host` that would be read as more than a name.
    """
    if not host or not _NOT_IN_A_NAME.isdisjoint(host):
        raise ValueError("the host cannot stand in a known_hosts file")
    return f"{host_name(host, port)} {key.line()}"


def judge(lookups: Sequence[KnownKeys], offered: PublicKey) -> Judgement:
    """Say what the key `offered` is, given what each file says of the host.

    Revoked anywhere is revoked; on record anywhere is trusted.
    """
    revoked = _with_key((known for lookup in lookups for known in lookup.revoked), offered)
    if revoked:
        return Judgement(HostVerdict.REVOKED, revoked)
    keys = tuple(known for lookup in lookups for known in lookup.keys)
    same = _with_key(keys, offered)
    if same:
        return Judgement(HostVerdict.TRUSTED, same)
    return Judgement(HostVerdict.CHANGED if keys else HostVerdict.UNKNOWN, keys)


def judge_certificate(
    facts: CertificateFacts, host: str, lookups: Sequence[KnownKeys], now: float
) -> Judgement:
    """Say what a host certificate is, whose signature is good, at unix time `now`.

    It must be of a trusted authority, for hosts, valid, without critical options, and name `host`
    among its principals, which may have wildcards. If it is not, the key in it is judged like a
    plain one, as ssh(1) does; only that an invalid certificate is nothing to put on record.
    """
    by_authority = judge(lookups, facts.signing_key)
    if by_authority.verdict is HostVerdict.REVOKED:
        return by_authority
    plain = judge(lookups, facts.key)
    authorities = _with_key(
        (known for lookup in lookups for known in lookup.authorities), facts.signing_key
    )
    if not authorities or plain.verdict in {HostVerdict.REVOKED, HostVerdict.TRUSTED}:
        return plain
    if _is_valid_for(facts, host.lower(), now):
        return Judgement(HostVerdict.TRUSTED, authorities)
    unknown = plain.verdict is HostVerdict.UNKNOWN
    return Judgement(HostVerdict.INVALID_CERTIFICATE, authorities) if unknown else plain


def known_algorithms(lookups: Iterable[KnownKeys]) -> tuple[str, ...]:
    """Return the types of the keys on record, each once: those to ask the server for."""
    return tuple(dict.fromkeys(k.key.algorithm for lookup in lookups for k in lookup.keys))


def _with_key(known: Iterable[KnownKey], key: PublicKey) -> tuple[KnownKey, ...]:
    return tuple(entry for entry in known if entry.key == key)


def _is_valid_for(facts: CertificateFacts, host: str, now: float) -> bool:
    return (
        facts.kind == "host"
        and facts.valid_after <= now < facts.valid_before
        and not facts.critical_options
        and any(match_pattern(host, principal.lower()) for principal in facts.principals)
    )


def _parse_line(text: str, number: int, source: str) -> _Entry:
    marker = ""
    if text.startswith("@"):
        marker, _, text = text.replace("\t", " ").partition(" ")
        if marker not in {_AUTHORITY, _REVOKED}:
            raise ValueError("the marker is not known")
    hosts, _, rest = text.strip().replace("\t", " ").partition(" ")
    if hosts.startswith("|"):
        _split_hash(hosts)
    key, _ = parse_public_key_line(rest)
    return _Entry(marker, hosts, KnownKey(key, number, source))


def _split_hash(hosts: str) -> tuple[bytes, bytes]:
    """Return salt and digest of `|1|salt|digest`, where 1 is HMAC-SHA1, the only kind there is."""
    parts = hosts.split("|")
    try:
        if len(parts) == 4 and parts[1] == "1":
            salt, digest = (base64.b64decode(part, validate=True) for part in parts[2:])
            return salt, digest
    except binascii.Error:
        pass
    raise ValueError("the hashed host cannot be understood")
