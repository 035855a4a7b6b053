"""The authorized_keys format (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

    # who may come in
    ssh-ed25519 AAAA… alice
    restrict,port-forwarding,permitopen="db:5432" ssh-ed25519 AAAA… reports
    cert-authority,principals="deploy" ssh-ed25519 AAAA… our CA

A line that cannot be understood is a problem to report, and the other lines work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Self

from wraith.policy.key_options import KeyOptions, parse_key_options
from wraith.policy.keys import KEY_FIELDS, PublicKey, parse_public_key_line
from wraith.policy.problem import Problem

#: Shorter RSA keys are refused, as by OpenSSH in FIPS mode and by every current recommendation.
MIN_RSA_BITS = 2048

_DSA = "ssh-dss"
_WHITE = " \t"


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """One key or certificate authority, its options, its comment and the number of its line."""

    key: PublicKey
    options: KeyOptions
    comment: str
    line: int


@dataclass(frozen=True, slots=True)
class AuthorizedKeys:
    """The keys of one file, in its order, and the lines that say nothing usable.

    `source` says where they come from, for messages: a path, or the name of an option.
    """

    entries: tuple[AuthorizedKey, ...] = ()
    problems: tuple[Problem, ...] = ()
    source: str = ""

    @classmethod
    def parse(cls, text: str, *, source: str, timezone: tzinfo) -> Self:
        """Read a whole file; nothing is raised.

        `timezone` is that of an `expiry-time` without Z: in OpenSSH, the one of the server.
        """
        entries, problems = [], []
        for number, line in enumerate(text.split("\n"), start=1):
            stripped = line.strip(" \t\r")
            if not stripped or stripped.startswith("#"):
                continue
            try:
                entries.append(parse_authorized_key(stripped, line=number, timezone=timezone))
            except ValueError as error:
                problems.append(Problem(number, str(error)))
        return cls(tuple(entries), tuple(problems), source)


def parse_authorized_key(text: str, *, line: int, timezone: tzinfo) -> AuthorizedKey:
    """Return what one line of the file says, as line number `line`; `ValueError`."""
    options = ""
    if _first_word(text) not in {*KEY_FIELDS, _DSA}:
        end = _end_of_options(text)
        options, text = text[:end], text[end:].lstrip(_WHITE)
    algorithm = _first_word(text)
    if algorithm == _DSA:
        raise ValueError("DSA keys are no longer accepted")
    if algorithm not in KEY_FIELDS:
        raise ValueError("there is no key of a known type, or an option holds a space unquoted")
    key, comment = parse_public_key_line(text)
    if key.rsa_bits is not None and key.rsa_bits < MIN_RSA_BITS:
        raise ValueError(f"the RSA key is shorter than {MIN_RSA_BITS} bits")
    return AuthorizedKey(key, parse_key_options(options, timezone), comment, line)


def _first_word(text: str) -> str:
    return text.replace("\t", " ").partition(" ")[0]


def _end_of_options(text: str) -> int:
    """Return where the options end: at the first white space outside quotes."""
    quoted = False
    position = 0
    while position < len(text) and (quoted or text[position] not in _WHITE):
        if text.startswith('\\"', position):
            position += 1
        elif text[position] == '"':
            quoted = not quoted
        position += 1
    if quoted:
        raise ValueError("a quote in the options is not closed")
    return position
