"""Packets as a device would give them, and a naive reader that checks every sum by itself."""

import struct
from dataclasses import dataclass

from wraith_tun.packets import VNET


def NAIVE(data: bytes) -> int:  # noqa: N802 - it stands beside the clever one
    """The ones' complement sum, word by word."""
    total = 0
    for (word,) in struct.iter_unpack(">H", data + b"\0" * (len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ip(ends: bytes, protocol: int, body: bytes) -> bytes:
    """A packet with these ends; `body` begins with the ports."""
    addresses = ends[:-4]
    if len(ends) == 12:
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, 64, protocol, 0)
        total = NAIVE(header + addresses) ^ 0xFFFF
        header = header[:10] + struct.pack(">H", total)
    else:
        header = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64)
    return bytes(VNET) + header + addresses + body


def segment(
    ends: bytes, flags: int, data: bytes = b"", *, sequence: int = 5, acknowledged: int = 9
) -> bytes:
    """A TCP packet whose own checksum is still to be made."""
    head = ends[-4:] + struct.pack(">IIBBHHH", sequence, acknowledged, 0x50, flags, 1000, 0xDEAD, 0)
    return ip(ends, 6, head + data)


def udp(ends: bytes, data: bytes) -> bytes:
    """A UDP packet."""
    return ip(ends, 17, ends[-4:] + struct.pack(">HH", 8 + len(data), 0) + data)


@dataclass
class Parts:
    """A packet with TCP's fields, taken apart."""

    ends: bytes
    sequence: int
    acknowledged: int
    flags: int
    rest: bytes
    """All of it but the ends and the sums."""


def split(packet: bytes | bytearray) -> Parts:
    """Take a packet apart."""
    whole = bytes(packet) + bytes(20)
    four = whole[VNET] >> 4 == 4
    start, at = (VNET + 20, VNET + 12) if four else (VNET + 40, VNET + 8)
    sequence, acknowledged, _, flags = struct.unpack_from(">IIBB", whole, start + 4)
    head = whole[VNET : VNET + 10] if four else whole[VNET : VNET + 8]
    rest = head + whole[start + 4 : start + 16] + whole[start + 18 : len(packet)]
    return Parts(whole[at : start + 4], sequence, acknowledged, flags, rest)


def checksums_hold(packet: bytes | bytearray) -> None:
    """Finish the checksum as the kernel would, and check all of them from scratch."""
    vnet, ip_packet = bytes(packet[:VNET]), bytearray(packet[VNET:])
    flags, *_, start, offset = struct.unpack("=BBHHHH", vnet)
    assert flags == 1
    four = ip_packet[0] >> 4 == 4
    assert start == (20 if four else 40)
    if four:
        assert NAIVE(bytes(ip_packet[:20])) == 0xFFFF
        assert struct.unpack_from(">H", ip_packet, 2)[0] == len(ip_packet) or len(ip_packet) > 60000
    total = NAIVE(bytes(ip_packet[start:])) ^ 0xFFFF
    struct.pack_into(">H", ip_packet, start + offset, total)
    protocol = ip_packet[9 if four else 6]
    addresses = bytes(ip_packet[12:20] if four else ip_packet[8:40])
    body = bytes(ip_packet[start:])
    pseudo = b"" if protocol == 1 else addresses + struct.pack(">II", len(body), protocol)
    assert NAIVE(pseudo + body) == 0xFFFF
