"""Where a peer may go: `--rule 'allow|deny PATTERN [principal=NAME,…] [key=SHA256:…]'`.

    allow db.internal:5432
    deny  private
    allow *.example.com:443 principal=ops,deploy
    deny  *                 key=SHA256:…

The first rule that matches wins, in the order given (`access_patterns` says what matches). Each
is held against the name as asked and, once it is resolved, against the address: against both at
once, so that a rule about a name and one about its address keep their order. What no rule matches
is allowed, except `link-local`, `metadata` and every Unix path; a last `deny *` turns that round.

    verdict = rules.decide_name(destination, who)       # before resolving; refuse a DENY at once
    rules.decide(host, address, port, who)              # for each address, then connect to that one
    rules.decide_unresolved(destination, who)           # instead, where a proxy resolves
    rules.decide_unix(path, who)

None of this resolves a name, and nothing here prints a destination.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Self

from wraith.errors import UsageError
from wraith.policy.access_patterns import (
    FORMS,
    Asked,
    Pattern,
    normalised_name,
    normalised_path,
    parse_pattern,
)
from wraith.policy.address_groups import comparable_forms, literal_address
from wraith.policy.openssh_patterns import parse_address
from wraith.values.address import Destination, TcpDestination, UnixDestination

_ACCEPTED = f"'allow|deny PATTERN [principal=NAME,...] [key=SHA256:...]', PATTERN being {FORMS}"


class Verdict(Enum):
    """What can be said about a destination before its name is resolved."""

    ALLOW = auto()
    DENY = auto()
    UNDECIDED = auto()  # it depends on the address


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks: the principals that a certificate proves, and the fingerprint of the key."""

    principals: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Rule:
    """One rule; empty `principals` and `keys` stand for everybody."""

    allow: bool
    pattern: Pattern
    principals: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rule that `text` describes; `UsageError`, which shows it, if it is none."""
        try:
            return cls._parse_words(text.split())
        except ValueError as error:
            raise UsageError(
                f"cannot use the rule {text!r}: {error} (expected {_ACCEPTED})"
            ) from None

    @classmethod
    def _parse_words(cls, words: list[str]) -> Self:
        if len(words) < 2 or words[0] not in {"allow", "deny"}:
            raise ValueError("it does not begin with allow or deny and a pattern")
        who: dict[str, frozenset[str]] = {}
        for word in words[2:]:
            kind, _, names = word.partition("=")
            if kind not in {"principal", "key"} or kind in who or "" in names.split(","):
                raise ValueError("after the pattern come principal= and key=, each at most once")
            who[kind] = frozenset(names.split(","))
        if not all(key.startswith("SHA256:") for key in who.get("key", ())):
            raise ValueError("a key is not given by its SHA256 fingerprint")
        return cls(
            allow=words[0] == "allow",
            pattern=parse_pattern(words[1]),
            principals=who.get("principal", frozenset()),
            keys=who.get("key", frozenset()),
        )

    def is_about(self, who: Peer) -> bool:
        """Whether the rule is about this peer: by principal and by key, where it names any."""
        if self.principals and self.principals.isdisjoint(who.principals):
            return False
        return not self.keys or who.fingerprint in self.keys


#: What holds where no rule matches; everything else is allowed.
_DEFAULTS: Final = tuple(map(Rule.parse, ("deny link-local", "deny metadata", "deny /*")))


@dataclass(frozen=True, slots=True, repr=False)
class AccessRules:
    """The rules of a server, in their order."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Self:
        """Return the rules in `lines`, one each; `UsageError` for the first that is none."""
        return cls(tuple(map(Rule.parse, lines)))

    def decide_name(self, destination: Destination, who: Peer) -> Verdict:
        """Say what is certain before resolution: then `decide` agrees, whatever the address.

        Unix paths, reserved names and literal addresses, however they are written, are always
        certain.
        """
        if isinstance(destination, UnixDestination):
            return _verdict(self.decide_unix(destination.path, who))
        asked = _asked(destination)
        if asked.addresses or asked.is_reserved:
            return _verdict(self._first_match(asked, who))
        undecided: set[bool] = set()
        for rule in (*self.rules, *_DEFAULTS):
            if not rule.is_about(who):
                continue
            if rule.pattern.matches(asked):
                return Verdict.UNDECIDED if undecided - {rule.allow} else _verdict(rule.allow)
            if rule.pattern.needs_address and rule.pattern.matches_port(asked.port):
                undecided.add(rule.allow)
        return Verdict.UNDECIDED  # `_DEFAULTS` depend on the address

    def decide(self, host: str, address: str, port: int, who: Peer) -> bool:
        """Say whether `host`, as asked, may be reached at `address`, one that it resolved to.

        Raises `ValueError` for an `address` that is none.
        """
        forms = comparable_forms(parse_address(address))
        return self._first_match(Asked(normalised_name(host), port, forms), who)

    def decide_unresolved(self, destination: TcpDestination, who: Peer) -> bool:
        """Say whether a destination may be reached whose name somebody else resolves.

        Rules about addresses then only hold for addresses as asked, however they are written.
        """
        return self._first_match(_asked(destination), who)

    def decide_unix(self, path: str, who: Peer) -> bool:
        """Say whether the Unix socket at `path` may be reached.

        Never one that is not absolute or has a `..` in it, whatever the rules say.
        """
        normalised = normalised_path(path)
        return normalised is not None and self._first_match(Asked(normalised), who)

    def _first_match(self, asked: Asked, who: Peer) -> bool:
        for rule in (*self.rules, *_DEFAULTS):
            if rule.is_about(who) and rule.pattern.matches(asked):
                return rule.allow
        return True

    def __repr__(self) -> str:
        return f"<AccessRules {len(self.rules)} rules>"


def _verdict(allowed: bool) -> Verdict:
    return Verdict.ALLOW if allowed else Verdict.DENY


def _asked(destination: TcpDestination) -> Asked:
    name = normalised_name(destination.host)
    literal = literal_address(name)
    return Asked(name, destination.port, comparable_forms(literal) if literal else ())
