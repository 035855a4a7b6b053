"""IP packets: whose they are, other ends for them, and answers of our own. Pure: bytes to bytes.

A packet here is what a TUN device with `IFF_VNET_HDR` gives and takes: the ten bytes of
`struct virtio_net_hdr`, then IPv4 (RFC 791) or IPv6 (RFC 8200). No checksum over a payload is ever
computed in Python: what we write carries the sum of its pseudo header, and the flag that leaves
the rest to the kernel (Linux, include/uapi/linux/virtio_net.h).

The *ends* of a TCP or UDP packet are its addresses and ports as they stand in it, side by side
when there are no options between: source, destination, source port, destination port. They are
the key by which packets are known, and are put into a packet by one assignment.
"""

import struct
from enum import Enum
from typing import NamedTuple

VNET = 10
"""Bytes of `struct virtio_net_hdr`, before the IP header."""

LARGEST = VNET + 65536
"""Bytes of the largest packet that the device can give."""

TCP, UDP = 6, 17
SYN, RST, ACK = 2, 4, 16
_NEEDS_CSUM = 1


class Version(NamedTuple):
    """Where things stand in the header of one version of IP, and its ICMP."""

    header: int
    protocol: int
    ends: int
    width: int  # of an address
    icmp: int
    echo_request: int
    unreachable: int  # the ICMP type


IPV4 = Version(20, 9, 12, 4, 1, 8, 3)
IPV6 = Version(40, 6, 8, 16, 58, 128, 1)


class Unreachable(Enum):
    """Why a destination cannot be reached: the codes of RFC 792 and RFC 4443."""

    NETWORK = (0, 0)
    HOST = (1, 3)
    PORT = (3, 4)
    PROHIBITED = (13, 1)


class Ends(NamedTuple):
    """The ends of a packet, taken apart."""

    source: bytes
    destination: bytes
    source_port: bytes
    destination_port: bytes

    @classmethod
    def of(cls, ends: bytes) -> "Ends":
        """Take 12 bytes (IPv4) or 36 (IPv6) apart."""
        width = (len(ends) - 4) // 2
        return cls(ends[:width], ends[width : 2 * width], ends[-4:-2], ends[-2:])

    def reversed(self) -> bytes:
        """The ends of an answer."""
        return self.destination + self.source + self.destination_port + self.source_port


class Redirect(NamedTuple):
    """Other ends for a packet, and what they change in its checksums."""

    version: Version
    ends: bytes
    shift: int
    pseudo: int

    @classmethod
    def between(cls, old: bytes, new: bytes) -> "Redirect":
        """Prepare to give TCP packets with the ends `old` the ends `new`."""
        version = IPV4 if len(new) == 12 else IPV6
        fresh = checksum(new[:-4])
        return cls(version, new, checksum(old[:-4]) - fresh, fresh + TCP)


def checksum(data: bytes) -> int:
    """The ones' complement sum of big-endian 16-bit words (RFC 1071), not complemented.

    As 65536 is 1 modulo 65535, it is the remainder of the whole as one number.
    """
    return int.from_bytes(data, "big") % 0xFFFF


def version_of(packet: bytes | bytearray, size: int) -> Version | None:
    """The version of a packet of `size` bytes whose ends stand where we look for them, else None.

    None are fragments, headers with options or extensions, and what is too short to be anything.
    """
    first = packet[VNET]
    version = IPV4 if first == 0x45 else IPV6 if first >> 4 == 6 else None
    if version is None or (version is IPV4 and (packet[VNET + 6] & 0x3F or packet[VNET + 7])):
        return None
    least = 20 if packet[VNET + version.protocol] == TCP else 8
    return version if size >= VNET + version.header + least else None


def redirect(packet: bytearray, size: int, to: Redirect) -> None:
    """Give the TCP packet of `size` bytes at the start of the buffer other ends, in place."""
    version = to.version
    start = VNET + version.header
    packet[VNET + version.ends : start + 4] = to.ends
    if version is IPV4:
        old = packet[VNET + 10] << 8 | packet[VNET + 11]
        struct.pack_into(">H", packet, VNET + 10, (old + to.shift) % 0xFFFF)
    struct.pack_into(">H", packet, start + 16, (to.pseudo + size - start) % 0xFFFF)
    packet[0] = _NEEDS_CSUM  # a RST, or a segment in TIME_WAIT, may have come without
    struct.pack_into("=HH", packet, 6, version.header, 16)


def build(source: bytes, destination: bytes, protocol: int, body: bytes, sum_at: int) -> bytes:
    """A packet of our own; the kernel fills in the checksum at `sum_at` in the body."""
    version = IPV4 if len(source) == 4 else IPV6
    if version is IPV4:
        size = 20 + len(body)
        ip = struct.pack(">BBHHHBB", 0x45, 0, size, 0, 0x4000, 64, protocol)
        ip += struct.pack(">H", 0xFFFF - checksum(ip + source + destination))
    else:
        ip = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64)
    pseudo = checksum(source + destination) + protocol + len(body)
    if protocol == IPV4.icmp:  # the only one without a pseudo header
        pseudo = 0
    body = body[:sum_at] + struct.pack(">H", pseudo % 0xFFFF) + body[sum_at + 2 :]
    vnet = struct.pack("=BBHHHH", _NEEDS_CSUM, 0, 0, 0, version.header, sum_at)
    return vnet + ip + source + destination + body


def datagram(ends: bytes, data: bytes) -> bytes:
    """A UDP packet (RFC 768)."""
    source, destination, *_ = Ends.of(ends)
    header = ends[-4:] + struct.pack(">HH", 8 + len(data), 0)
    return build(source, destination, UDP, header + data, 6)


def payload(packet: bytes, version: Version) -> bytes:
    """What a UDP packet carries; as much as is there, if its length says more."""
    start = VNET + version.header
    return packet[start + 8 : start + int.from_bytes(packet[start + 4 : start + 6], "big")]


def refusal(packet: bytes, version: Version) -> bytes | None:
    """The reset for a TCP packet that belongs to nothing (RFC 9293, 3.10.7.1); none for a reset."""
    start = VNET + version.header
    ends = Ends.of(packet[VNET + version.ends : start + 4])
    sequence, acknowledged, _, flags = struct.unpack_from(">IIBB", packet, start + 4)
    if flags & RST:
        return None
    if flags & ACK:
        sequence, acknowledged, answer = acknowledged, 0, RST
    else:
        sequence, acknowledged, answer = 0, (sequence + 1) & 0xFFFFFFFF, RST | ACK
    ports = ends.destination_port + ends.source_port
    body = ports + struct.pack(">IIBBHHH", sequence, acknowledged, 0x50, answer, 0, 0, 0)
    return build(ends.destination, ends.source, TCP, body, 16)


def unreachable(packet: bytes, version: Version, why: Unreachable) -> bytes:
    """The ICMP error that tells the sender of a packet why it went nowhere, with its beginning."""
    at = VNET + version.ends
    source, destination = (packet[at + i : at + i + version.width] for i in (0, version.width))
    code = why.value[version is IPV6]
    body = struct.pack(">BBHI", version.unreachable, code, 0, 0) + packet[VNET : VNET + 548]
    return build(destination, source, version.icmp, body, 2)
