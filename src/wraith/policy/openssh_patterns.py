"""OpenSSH's patterns (ssh_config(5), PATTERNS) and its address lists (sshd(8), `from=`).

    *.example.com,!bad.example.com      a list; one match of a negated pattern beats all others
    192.0.2.0/24,!192.0.2.7,10.*        in an address list: CIDR, addresses and patterns, mixed

There are two wildcards, `*` for any run of characters, also an empty one, and `?` for exactly one.
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def match_pattern(text: str, pattern: str) -> bool:
    """Whether the whole of `text` matches one pattern, case and all.

    Takes at most len(text) × len(pattern) steps: only the last `*` is ever gone back to, as
    whatever an earlier one could still give away, the last one can take.
    """
    position = index = 0
    star = resume = -1
    while position < len(text):
        if index < len(pattern) and pattern[index] == "*":
            star, resume = index, position
            index += 1
        elif index < len(pattern) and pattern[index] in ("?", text[position]):
            position, index = position + 1, index + 1
        elif star >= 0:
            resume += 1
            position, index = resume, star + 1
        else:
            return False
    return pattern[index:].strip("*") == ""


def match_pattern_list(text: str, patterns: str, *, ignore_case: bool = False) -> bool | None:
    """Hold `text` against a comma-separated list, where `!` negates a pattern.

    Returns True for a match, False if a negated pattern matches, whatever else does, and None if
    none does: so a list of negated patterns alone never gives True. With `ignore_case`, as OpenSSH
    has it for host names, ASCII letters match in either case.
    """
    if ignore_case:
        text, patterns = text.lower(), patterns.lower()
    found: bool | None = None
    for pattern in patterns.split(","):
        if match_pattern(text, pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def match_address_list(address: str, patterns: str) -> bool | None:
    """Hold an IP address against the list of a `from=` option.

    An element with a prefix length is a network, and any other a pattern for the address's text.
    Returns what `match_pattern_list` does. Raises `ValueError` for an empty element and for a
    network with an impossible prefix or with host bits set, which OpenSSH lets nobody pass.
    """
    ip = parse_address(address)
    found: bool | None = None
    for element in patterns.split(","):
        if _matches_element(ip, element.removeprefix("!")) and found is not False:
            found = not element.startswith("!")
    return found


def match_cidr_list(address: str, networks: str) -> bool:
    """Hold an IP address against the list of a certificate's `source-address`.

    Its elements are addresses and networks only. Raises `ValueError` for anything else.
    """
    ip = parse_address(address)
    parsed = [parse_network(element) for element in networks.split(",")]  # each, to see an error
    return any(ip in network for network in parsed)


def parse_address(text: str) -> IPAddress:
    """Return the address in `text`, IPv4-mapped IPv6 as IPv4, a zone taken off; `ValueError`."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    return ip if ip.version == 4 else ip.ipv4_mapped or ip


def parse_network(text: str) -> IPNetwork:
    """Return the network in `text`, one within ::ffff:0:0/96 as IPv4; `ValueError`.

    An address alone is a network of one. Only a prefix length is understood after the slash, as a
    netmask there is more often a mistake.
    """
    prefix = text.partition("/")[2]
    if "/" in text and not (prefix.isascii() and prefix.isdigit()):
        raise ValueError("the prefix length is not a number")
    network = ipaddress.ip_network(text)
    if network.version == 6 and network.prefixlen >= 96 and network[0].ipv4_mapped:
        return ipaddress.ip_network((network[0].ipv4_mapped, network.prefixlen - 96))
    return network


def _matches_element(ip: IPAddress, element: str) -> bool:
    if not element:
        raise ValueError("an element of the list is empty")
    if "/" in element:
        return ip in parse_network(element)
    try:
        return ip == parse_address(element)
    except ValueError:
        return match_pattern(str(ip), element.lower())
