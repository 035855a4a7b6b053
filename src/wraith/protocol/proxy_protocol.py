"""The PROXY protocol, versions 1 and 2: a load balancer says for whom it connects.

The header comes before anything else on a connection. Version 1 is a line of text, version 2 is
binary (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections 2.1 and 2.2).

    PROXY TCP4 203.0.113.7 192.0.2.1 51234 22\\r\\n

Whoever sends it says what it likes, so only who is trusted may be asked.
"""

from __future__ import annotations

import ipaddress
import re

from wraith.protocol.machine import Cursor, Incomplete
from wraith.values.address import HostPort

MAX_V1 = 107
"""Bytes of a line of version 1, its end included (section 2.1)."""

MAX_V2 = 2048
"""Bytes after the fixed part of version 2 that are taken: addresses, and extensions to skip."""

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

_LOCAL, _PROXY = 0x20, 0x21

_V1_START = b"PROXY "
_V1 = re.compile(r"PROXY TCP([46]) (\S+) (\S+) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")

_UNSPEC, _INET, _INET6, _UNIX = range(4)
_ADDRESS_BYTES = {_INET: 4, _INET6: 16}


class ProxyHeaderError(ValueError):
    """What came first is no such header; the text does not repeat it."""


def decode_header(cursor: Cursor) -> HostPort | None:
    """Return who is behind the connection; None where it stands for itself, as in a health check.

    Raises `Incomplete` while bytes are missing, and `ProxyHeaderError` as soon as no further byte
    can help.
    """
    start = _peek(cursor, len(SIGNATURE))
    if SIGNATURE.startswith(start):
        return _decode_v2(cursor)
    if _V1_START.startswith(start[: len(_V1_START)]):
        return _decode_v1(cursor)
    raise ProxyHeaderError("no PROXY header")


def _peek(cursor: Cursor, most: int) -> bytes:
    position, taken = cursor.position, bytearray()
    try:
        while len(taken) < most:
            taken.append(cursor.byte())
    except Incomplete:
        pass
    cursor.position = position
    return bytes(taken)


def _decode_v1(cursor: Cursor) -> HostPort | None:
    line = _peek(cursor, MAX_V1)
    end = line.find(b"\n")
    if end < 0:
        if len(line) == MAX_V1:
            raise ProxyHeaderError("the line of the PROXY header is too long")
        raise Incomplete
    line = cursor.take(end + 1)
    if _V1_UNKNOWN.fullmatch(line):
        return None
    match = _V1.fullmatch(line.decode("ascii", "replace"))
    if match is None:
        raise ProxyHeaderError("the line of the PROXY header cannot be read")
    version, source, destination, *ports = match.groups()
    try:
        addresses = [ipaddress.ip_address(text) for text in (source, destination)]
    except ValueError:
        raise ProxyHeaderError("the PROXY header has no addresses") from None
    numbers = [int(port) for port in ports]
    if any(address.version != int(version) for address in addresses) or max(numbers) > 0xFFFF:
        raise ProxyHeaderError("the PROXY header contradicts itself")
    return HostPort(_plain(addresses[0]), numbers[0])


def _decode_v2(cursor: Cursor) -> HostPort | None:
    cursor.take(len(SIGNATURE))
    command, family, size = cursor.byte(), cursor.byte() >> 4, cursor.port()
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("a version or command of the PROXY protocol that is not known")
    if size > MAX_V2:
        raise ProxyHeaderError("the PROXY header is too long")
    body = cursor.take(size)
    if command == _LOCAL or family in (_UNSPEC, _UNIX):
        return None
    width = _ADDRESS_BYTES.get(family)
    if width is None or size < 2 * width + 4:
        raise ProxyHeaderError("the PROXY header has no addresses")
    return HostPort(
        _plain(ipaddress.ip_address(body[:width])),
        int.from_bytes(body[2 * width : 2 * width + 2], "big"),
    )


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As it is logged and judged: IPv4 dressed as IPv6 is IPv4, and a zone says nothing here."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Address(int(address)))
    return str(address)
