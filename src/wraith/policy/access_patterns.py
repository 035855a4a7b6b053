"""The patterns of access rules: what they are written like, and what they match.

    db.internal:5432             a name and a port
    db.internal                  a name, any port
    *.internal:80,443,8000-8100  `*` and `?` in names; ports in lists and ranges
    10.0.0.0/8:22                a network; with IPv6 [fd00::/8]:22, or fd00::/8 for any port
    10.0.*                       wildcards in the text of an address
    private  loopback  link-local  metadata  reserved     groups, also with ports (private:22)
    /run/*.sock                  Unix sockets; `*` also runs across slashes
    wraith-*  wraith-control     the services that Wraith answers itself, whatever the port
    *                            everything there is

    ::1:80                       could be two things: IPv6 goes in brackets
    db.internal:0                nobody can be reached at port 0

Names match in either case, and with or without the dot at their end. A pattern with ports says
nothing about Unix sockets, and only `*` and patterns that begin with `wraith-` about the reserved
names.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from dataclasses import dataclass

from wraith.policy.address_groups import GROUP_NAMES, GROUPS, literal_address
from wraith.policy.openssh_patterns import (
    IPAddress,
    IPNetwork,
    match_pattern,
    parse_address,
    parse_network,
)
from wraith.values.address import RESERVED_PREFIX

FORMS = "HOST, HOST:PORTS, NETWORK/BITS[:PORTS], [IPV6]:PORTS, a group, a /path or *"

_EVERYTHING = "*"

# A name, or a pattern of names. Names with letters beyond ASCII are compared in their IDNA form.
_NAME = re.compile(r"[a-z0-9_.*?-]+", re.ASCII)

# What can be the text of an address, as a whole or in part.
_NUMERIC = re.compile(r"[0-9.*?]+", re.ASCII)

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule is held against: of a destination, all that is known at the time.

    `name` is the host as asked, normalised, or the path of a Unix socket. `addresses` are the one
    that it resolved to, in each form to compare; none before resolution.
    """

    name: str
    port: int = 0
    addresses: tuple[IPAddress, ...] = ()

    @property
    def is_path(self) -> bool:
        """Whether this is a Unix socket."""
        return self.name.startswith("/")

    @property
    def is_reserved(self) -> bool:
        """Whether this is a name that Wraith answers itself."""
        return self.name.startswith(RESERVED_PREFIX)


@dataclass(frozen=True, slots=True, repr=False)
class Pattern:
    """One parsed pattern: a set of destinations.

    `glob` is held against names and paths, and if `numeric` against the text of addresses too;
    `names` and `networks` are literal. `ports` are inclusive ranges, and none of them means any.
    """

    glob: str | None = None
    numeric: bool = False
    names: frozenset[str] = frozenset()
    networks: tuple[IPNetwork, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()

    @property
    def needs_address(self) -> bool:
        """Whether an address, once it is known, could match where the name does not."""
        return bool(self.networks) or self.numeric

    def matches(self, asked: Asked) -> bool:
        """Whether what was asked for, as far as it is known, is one of these."""
        if self.glob == _EVERYTHING and not self.ports:
            return True
        if asked.is_path or asked.is_reserved:
            return self._is_about(asked) and match_pattern(asked.name, self.glob or "")
        return self.matches_port(asked.port) and (
            self._matches_name(asked.name) or any(map(self._matches_address, asked.addresses))
        )

    def matches_port(self, port: int) -> bool:
        """Whether the port is one of these, whatever the host."""
        return not self.ports or any(low <= port <= high for low, high in self.ports)

    def _is_about(self, asked: Asked) -> bool:
        prefix = "/" if asked.is_path else RESERVED_PREFIX
        return self.glob is not None and self.glob.startswith(prefix)

    def _matches_name(self, name: str) -> bool:
        return name in self.names or (self.glob is not None and match_pattern(name, self.glob))

    def _matches_address(self, address: IPAddress) -> bool:
        if self.numeric and match_pattern(str(address), self.glob or ""):
            return True
        return any(address in network for network in self.networks)


def parse_pattern(text: str) -> Pattern:
    """Return the pattern that `text` describes; `ValueError` with the reason if it is none."""
    if text.startswith("/"):
        if normalised_path(text) != text:
            raise ValueError("the path is not written in its shortest form")
        return Pattern(glob=text)
    host, ports = _split_ports(text)
    if not host:
        raise ValueError("the host is missing")
    parsed = _parse_ports(ports, allow_zero=host.lower().startswith(RESERVED_PREFIX))
    if (group := host.lower()) in GROUPS:
        return Pattern(names=GROUP_NAMES[group], networks=GROUPS[group], ports=parsed)
    if "/" in host or ":" in host or _is_address(host):
        return Pattern(networks=(parse_network(host),), ports=parsed)
    if literal_address(host):
        raise ValueError("the address is not written in full")
    glob = normalised_name(host)
    if _NAME.fullmatch(glob) is None:
        raise ValueError("the name holds a character that host names do not have")
    return Pattern(glob=glob, numeric=_NUMERIC.fullmatch(glob) is not None, ports=parsed)


def normalised_name(host: str) -> str:
    """Return a host name as rules compare it: in lower case, in ASCII, without a dot at its end.

    What has no form in ASCII (RFC 3490) has no address either, and stays as it is.
    """
    if not host.isascii():
        with contextlib.suppress(UnicodeError):
            host = host.encode("idna").decode()
    return host.lower().removesuffix(".")


def normalised_path(path: str) -> str | None:
    """Return the path of a Unix socket as rules compare it, or None for one they cannot judge.

    No pattern could tell where a path leads that is not absolute or goes upwards.
    """
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        return None
    return "/" + posixpath.normpath(path).lstrip("/")


def _split_ports(text: str) -> tuple[str, str | None]:
    """Cut off the ports, if there are any, and the brackets."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("after a bracketed address comes :PORTS or nothing")
        return host, rest[1:] if rest else None
    if text.count(":") < 2:
        host, colon, ports = text.partition(":")
        return host, ports if colon else None
    if "/" not in text and _is_address(text.rpartition(":")[0]):
        raise ValueError("it could be an address or an address with a port")
    return text, None


def _parse_ports(text: str | None, *, allow_zero: bool) -> tuple[tuple[int, int], ...]:
    if text is None or text == "*":
        return ()
    ranges = []
    for part in text.split(","):
        match = _PORTS.fullmatch(part)
        if match is None:
            raise ValueError("the ports are not numbers, ranges or a list of them")
        low, high = int(match[1]), int(match[2] or match[1])
        if not (0 if allow_zero else 1) <= low <= high <= 65535:
            raise ValueError("a port is not from 1 to 65535, or a range ends before it begins")
        ranges.append((low, high))
    return tuple(ranges)


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True
