"""Names to fake addresses and back (RFC 1035). Pure: no query ever leaves the machine.

Every name has an address out of the device's own network, made up on the spot. A connection to it
is made by name at the far side of the proxy, which is the only one who resolves anything.
"""

import re
import struct
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, ip_address

TTL = 5
"""Seconds: an answer is worth little, since another run gives other addresses."""

RESERVED = 256
"""The first addresses of the network are never given out: the device and its peer are there."""

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP = 0, 1, 2, 3, 4
A, PTR, AAAA = 1, 12, 28
_LABEL = re.compile(rb"[!-\-/-~]{1,63}")  # printable, without space and dot
_NOWHERE = (["local"], ["arpa"], ["invalid"])


class Names:
    """Fake addresses out of a network, for at most as many names as it has.

    `real` are names with true addresses, for what must not go through the tunnel. `start` is where
    counting begins: another one in each run, so that an answer of an earlier run means nothing.
    """

    def __init__(
        self, network: IPv4Network, real: Mapping[str, Sequence[str]] | None = None, start: int = 0
    ) -> None:
        self.real = real or {}
        self._size = network.num_addresses - RESERVED - 1
        self._base, self._mask = int(network.network_address), int(network.netmask)
        self._next = start % self._size
        self._names: OrderedDict[str, bytes] = OrderedDict()  # the least recently used first
        self._addresses: dict[bytes, str] = {}
        self._in_use: Counter[bytes] = Counter()

    def address(self, name: str) -> bytes | None:
        """The fake address of a name, four bytes; None when all are in use."""
        address = self._names.pop(name, None)
        if address is None:
            address = self._unused()
            if address is None:
                return None
        self._names[name] = address
        self._addresses[address] = name
        return address

    def _unused(self) -> bytes | None:
        if len(self._names) < self._size:
            self._next = (self._next + 1) % self._size
            return struct.pack(">I", self._base + RESERVED + self._next)
        for name, address in self._names.items():
            if address not in self._in_use:
                del self._names[name]
                return address
        return None

    def name(self, address: bytes) -> str | None:
        """The name behind an address; "" for one never given out, None if it is none of ours."""
        if len(address) != 4 or int.from_bytes(address, "big") & self._mask != self._base:
            return None
        name = self._addresses.get(address, "")
        if name:
            self._names.move_to_end(name)
        return name

    def use(self, address: bytes) -> None:
        """Keep what this address means while a flow uses it; any address may be told."""
        self._in_use[address] += 1

    def release(self, address: bytes) -> None:
        """One flow less."""
        self._in_use[address] -= 1
        if not self._in_use[address]:
            del self._in_use[address]


def answer(names: Names, query: bytes) -> bytes | None:
    """The answer to a query; None for what is not one. Never raises."""
    if len(query) < 12 or query[2] & 0x80:
        return None
    opcode = query[2] >> 3 & 15
    try:
        labels, kind, end = _question(query)
    except (ValueError, IndexError, struct.error):
        return _reply(query, 12, NOTIMP if opcode else FORMERR)
    if opcode:
        return _reply(query, end, NOTIMP)
    rcode, records = _look_up(names, labels, kind)
    return _reply(query, end, rcode, kind, records)


def _question(query: bytes) -> tuple[list[str], int, int]:
    """The labels and the type of the only question, and where it ends (section 4.1.2)."""
    at, labels = 12, []
    while length := query[at]:
        label = _LABEL.fullmatch(query, at + 1, at + 1 + length)
        if label is None or at > 12 + 253 - length:
            raise ValueError("a label too long, too short, or compressed; or a name too long")
        labels.append(label[0].decode().lower())
        at += 1 + length
    kind, family = struct.unpack_from(">HH", query, at + 1)
    if family != 1 or query[4:6] != b"\0\1":
        raise ValueError("not one question about the Internet")
    return labels, kind, at + 5


def _look_up(names: Names, labels: list[str], kind: int) -> tuple[int, list[bytes]]:
    name = ".".join(labels)
    if name in names.real:
        found = [ip_address(text).packed for text in names.real[name]]
        return NOERROR, [packed for packed in found if len(packed) == {A: 4, AAAA: 16}.get(kind)]
    if labels[-1:] == ["localhost"]:
        return NOERROR, {A: [b"\x7f\0\0\1"], AAAA: [bytes(15) + b"\1"]}.get(kind, [])
    if name.endswith(".in-addr.arpa") and kind == PTR and len(labels) == 6:
        return _reverse(names, labels[3::-1])
    # Firefox asks for the second: there being no such name, it leaves DNS over HTTPS alone.
    if labels[-1:] in _NOWHERE or name == "use-application-dns.net":
        return NXDOMAIN, []
    if kind != A or not name:
        return NOERROR, []
    address = names.address(name)
    return (SERVFAIL, []) if address is None else (NOERROR, [address])


def _reverse(names: Names, parts: list[str]) -> tuple[int, list[bytes]]:
    try:
        name = names.name(ip_address(".".join(parts)).packed)
    except ValueError:
        name = None
    if not name:
        return NXDOMAIN, []
    labels = [label.encode() for label in name.split(".")]
    return NOERROR, [b"".join(bytes([len(label)]) + label for label in labels) + b"\0"]


def _reply(
    query: bytes, end: int, rcode: int, kind: int = 0, records: Sequence[bytes] = ()
) -> bytes:
    """The query's beginning with an answer; its EDNS record (RFC 6891), if any, is answered too."""
    edns = query[10:12] != b"\0\0" and len(query) > end
    flags = 0x8080 | (query[2] & 0x79) << 8 | query[3] & 0x10 | rcode
    counts = struct.pack(">HHHH", end > 12, len(records), 0, edns)
    head = query[:2] + struct.pack(">H", flags) + counts + query[12:end]
    body = (struct.pack(">HHHIH", 0xC00C, kind, 1, TTL, len(data)) + data for data in records)
    return head + b"".join(body) + (b"\0\0\x29\x04\xd0\0\0\0\0\0\0" if edns else b"")
