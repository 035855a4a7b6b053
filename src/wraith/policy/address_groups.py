"""Groups of addresses that access rules name, and the several ways to write one address.

The networks are those of the IANA special-purpose registries (RFC 6890 and its updates), written
out here so that they do not change with the version of Python.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from wraith.policy.openssh_patterns import IPAddress, IPNetwork, parse_address


def _networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ipaddress.ip_network, texts))


#: The group `metadata`: what tells a cloud machine its secrets, and must not tell them to guests.
_METADATA = _networks(
    "169.254.169.254",  # nearly every cloud
    "fd00:ec2::254",  # AWS, over IPv6
    "169.254.170.2",  # AWS, credentials of a container
    "169.254.170.23",  # AWS, credentials of a pod
    "fd00:ec2::23",
    "fd20:ce::254",  # Google Cloud, over IPv6
    "168.63.129.16",  # Azure's host
    "100.100.100.200",  # Alibaba Cloud
    "192.0.0.192",  # Oracle Cloud
    "169.254.0.23",  # Tencent Cloud
    "169.254.42.42",  # Scaleway
    "fd00:42::42",
)

GROUPS: Final[Mapping[str, tuple[IPNetwork, ...]]] = {
    "private": _networks(
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # behind a provider's NAT (RFC 6598), and what overlay networks use
        "fc00::/7",
        "fec0::/10",  # site-local, long deprecated, still routed by some
    ),
    # A connection to the unspecified address reaches this host itself.
    "loopback": _networks("127.0.0.0/8", "::1", "0.0.0.0", "::"),  # noqa: S104
    "link-local": _networks("169.254.0.0/16", "fe80::/10"),
    "metadata": _METADATA,
    # Nothing that answers has any business here: this network, IETF protocols, documentation,
    # benchmarks, multicast, future use and broadcast, discard.
    "reserved": _networks(
        "0.0.0.0/8",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "::",
        "100::/64",
        "2001:2::/48",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "ff00::/8",
    ),
}

#: Names that are in a group whatever they resolve to, and also where a proxy resolves them.
GROUP_NAMES: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(GROUPS, frozenset()),
    "loopback": frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}),
    "metadata": frozenset(
        {
            "metadata",
            "metadata.google.internal",
            "metadata.goog",
            "metadata.azure.internal",
            "metadata.tencentyun.com",
            "metadata.platformequinix.com",
            "instance-data",
            "instance-data.ec2.internal",
        }
    ),
}

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

# One part of an address as inet_aton() takes it: decimal, octal or hexadecimal.
_PART = re.compile(r"0[xX][0-9a-fA-F]*|0[0-7]*|[1-9][0-9]*", re.ASCII)


def comparable_forms(address: IPAddress) -> tuple[IPAddress, ...]:
    """Return the addresses that rules compare for `address`, which `parse_address` returned.

    That one has made IPv4 of IPv4-mapped IPv6. What is in the well-known prefix of NAT64,
    64:ff9b::/96 (RFC 6052), leads through a gateway to the IPv4 address in it, and counts as both.
    """
    if address in _NAT64:
        return (address, ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def literal_address(host: str) -> IPAddress | None:
    """Return the address that resolvers would read `host` as without asking anyone, if any.

    That includes what inet_aton() reads: `127.1`, `0x7f000001`, `2130706433`, `0177.0.0.1`.
    """
    try:
        return parse_address(host)
    except ValueError:
        return _inet_aton(host)


def _inet_aton(text: str) -> ipaddress.IPv4Address | None:
    """Read up to four parts, of which the last fills all the bytes that are left."""
    parts = text.split(".")
    if len(parts) > 4 or not all(_PART.fullmatch(part) for part in parts):
        return None
    *leading, last = [_number(part) for part in parts]
    room = 8 * (4 - len(leading))
    if any(number > 255 for number in leading) or last >= 1 << room:
        return None
    value = last
    for index, number in enumerate(leading):
        value |= number << (24 - 8 * index)
    return ipaddress.IPv4Address(value)


def _number(part: str) -> int:
    if part[:2] in {"0x", "0X"}:
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)
