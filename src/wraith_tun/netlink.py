"""Addresses, routes and rules over rtnetlink (RFC 3549, rtnetlink(7)).

Raw messages: a namespace of our own has no program that could be called with its capabilities.
What we add carries a protocol number of its own, by which a later run finds what a killed one left.
"""

import ipaddress as ip
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

Address = ip.IPv4Address | ip.IPv6Address
Interface = ip.IPv4Interface | ip.IPv6Interface
Network = ip.IPv4Network | ip.IPv6Network

PROTOCOL = 177
MAIN = 254
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
EVERYTHING: tuple[Network, ...] = (ip.ip_network("0.0.0.0/0"), ip.ip_network("::/0"))

_NEWLINK, _NEWADDR, _NEWROUTE, _DELROUTE, _GETROUTE = 16, 20, 24, 25, 26
_NEWRULE, _DELRULE, _GETRULE = 32, 33, 34
_CHANGE, _DUMP, _ADD = 0x5, 0x301, 0x505  # a request; with an answer, for all, or to replace
_ERROR, _DONE = 2, 3
_NO_DAD_NO_ROUTE = 0x202
_UNICAST, _UNREACHABLE = 1, 7


def _exchange(kind: int, flags: int, body: bytes) -> list[bytes]:
    """Ask the kernel; returns the bodies that it answers. Raises `OSError` with its reason."""
    found: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(5)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        while True:
            data = sock.recv(1 << 20)
            while data:
                size, what = struct.unpack_from("=IH", data)
                if what in (_ERROR, _DONE):
                    code = -struct.unpack_from("=i", data, 16)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                found.append(data[16:size])
                data = data[(size + 3) & ~3 :]


def _put(
    kind: int, flags: int, header: bytes, attributes: Mapping[int, bytes | int | Address | None]
) -> None:
    """Have something be so; attributes that are None are left out."""
    for what, value in attributes.items():
        if value is not None:
            data = struct.pack("=I", value) if isinstance(value, int) else value
            data = data if isinstance(data, bytes) else data.packed
            header += struct.pack("=HH", 4 + len(data), what) + data + bytes(-len(data) % 4)
    _exchange(kind, flags, header)


def _dump(kind: int) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """All routes or rules: the message, and the attributes that follow its first 12 bytes."""
    for family in FAMILIES.values():
        for body in _exchange(kind, _DUMP, bytes([family]) + bytes(11)):
            found, at = {}, 12
            while at < len(body):
                size, what = struct.unpack_from("=HH", body, at)
                found[what] = body[at + 4 : at + size]
                at += (size + 3) & ~3
            if body[0] == family:  # else it is unknown here, and we are told of all others
                yield body, found


def bring_up(index: int, mtu: int, queue: int) -> None:
    """Set a link up, with this size of packets and this length of its queue."""
    _put(_NEWLINK, _CHANGE, struct.pack("=BxHiII", 0, 0, index, 1, 1), {4: mtu, 13: queue})


def add_address(index: int, own: Interface) -> None:
    """Give a link an address that needs no check for duplicates and makes no route."""
    header = struct.pack("=BBBBI", FAMILIES[own.version], own.network.prefixlen, 0, 0, index)
    _put(_NEWADDR, _ADD, header, {1: own.ip, 2: own.ip, 8: _NO_DAD_NO_ROUTE})


class Route(NamedTuple):
    """A route as the kernel tells it."""

    to: Network
    direct: bool
    """Whether it leads to a link, with no gateway between."""
    body: bytes


def add_route(to: Network, table: int, index: int = 0, source: Address | None = None) -> None:
    """Send a network to a link; without one, it is unreachable where no other route is."""
    kind = _UNICAST if index else _UNREACHABLE
    fields = FAMILIES[to.version], to.prefixlen, 0, 0, 0, PROTOCOL, 0, kind, 0
    way = {4: index, 7: source} if index else {6: 0x7FFFFFFF}
    attributes = {1: to.network_address, 15: table, **way}
    _put(_NEWROUTE, _ADD, struct.pack("=BBBBBBBBI", *fields), attributes)


def routes(table: int) -> list[Route]:
    """The unicast and unreachable routes of a table."""
    told = []
    for body, found in _dump(_GETROUTE):
        if found.get(15) == struct.pack("=I", table) and body[7] in (_UNICAST, _UNREACHABLE):
            anywhere = bytes(4 if body[0] == socket.AF_INET else 16)
            direct = body[7] == _UNICAST and not found.keys() & {5, 9, 18}
            told.append(Route(ip.ip_network((found.get(1, anywhere), body[1])), direct, body))
    return told


def remove_route(route: Route) -> None:
    """Remove a route that `routes` has told."""
    _exchange(_DELROUTE, _CHANGE, route.body)


def add_rule(
    version: int,
    order: int,
    table: int,
    to: Network | None = None,
    source: Network | None = None,
    protocol: int | None = None,
    source_port: int | None = None,
    port: int | None = None,
    uid: int | None = None,
) -> None:
    """Let packets look into a table; what is not given is not asked for."""
    lengths = (network.prefixlen if network else 0 for network in (to, source))
    header = struct.pack("=BBBBBBBBI", FAMILIES[version], *lengths, 0, 0, 0, 0, 1, 0)
    attributes = {
        1: to.network_address if to else None,
        2: source.network_address if source else None,
        6: order,
        15: table,
        20: _span("=II", uid),
        21: bytes([PROTOCOL]),
        22: bytes([protocol]) if protocol else None,
        23: _span("=HH", source_port),
        24: _span("=HH", port),
    }
    _put(_NEWRULE, _ADD, header, attributes)


def _span(form: str, number: int | None) -> bytes | None:
    """From a number to the same."""
    return None if number is None else struct.pack(form, number, number)


def our_rules() -> list[tuple[int, bytes]]:
    """The rules with our protocol number: their order, and the message."""
    ours = ((body, found) for body, found in _dump(_GETRULE) if found.get(21) == bytes([PROTOCOL]))
    return [(struct.unpack("=I", found[6])[0], body) for body, found in ours]


def remove_rule(body: bytes) -> None:
    """Remove a rule that `our_rules` has told."""
    _exchange(_DELRULE, _CHANGE, body)
