"""Datagrams on their way through a stream, and the header that SOCKS5 gives them.

    a frame      length (2)                   address type (1)  address  port (2)  payload
    in SOCKS5    reserved (2)  fragment (1)   address type (1)  address  port (2)  payload

From the address on the two are the same (RFC 1928, sections 5 and 7), and that part is called a
*parcel* here: the client of a tunnel changes what stands before it, and never has to understand it.
The address says where a datagram goes to, or where it comes from.

An address may be a name. What comes back then bears that name, too: the program knows its partner
by no other, and never learns what it resolved to.
"""

from __future__ import annotations

from collections.abc import Iterable

from wraith.protocol.machine import Cursor, Incomplete
from wraith.protocol.socks5 import messages
from wraith.protocol.socks5.messages import AddressType, MessageError
from wraith.values.address import TcpDestination

MAX_PARCEL = 0xFFFF
"""Bytes of a parcel, as far as the length of a frame can count."""

MOST_AT_ONCE = 1024
"""Datagrams that are taken from one read; a peer that sends more crumbs than that loses them."""

SOCKS5_HEADER = bytes(3)
"""Reserved, and the number of the fragment: this is a whole datagram."""

_ADDRESS_BYTES = {AddressType.IPV4: 1 + 4 + 2, AddressType.IPV6: 1 + 16 + 2}


class FrameReader:
    """Cuts a stream into parcels; what it keeps is never longer than one frame and one read."""

    def __init__(self) -> None:
        self._incoming = bytearray()
        self._wanted = 0

    def __repr__(self) -> str:
        return f"<FrameReader holds={len(self._incoming)}>"

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take bytes, cut in any way, and return the parcels that are now whole.

        At most `MOST_AT_ONCE` of them: the others are dropped, as datagrams may be.
        """
        incoming = self._incoming
        if incoming:
            incoming += data
            if len(incoming) < self._wanted:
                return []
            data = bytes(incoming)
            incoming.clear()
        parcels: list[bytes] = []
        at, left = 0, len(data)
        self._wanted = 2
        while left >= 2:
            self._wanted = 2 + (data[at] << 8 | data[at + 1])
            if left < self._wanted:
                break
            if len(parcels) < MOST_AT_ONCE:
                parcels.append(data[at + 2 : at + self._wanted])
            at += self._wanted
            left -= self._wanted
            self._wanted = 2
        incoming += data[at:]
        return parcels


def frames(parcels: Iterable[bytes]) -> bytes:
    """Return the parcels as they travel in a stream; one that is too long for it is dropped."""
    pieces: list[bytes] = []
    for parcel in parcels:
        if len(parcel) <= MAX_PARCEL:
            pieces += (len(parcel).to_bytes(2, "big"), parcel)
    return b"".join(pieces)


def split(parcel: bytes) -> tuple[bytes, bytes]:
    """Return the address of a parcel, as it is written, and the payload.

    Raises `MessageError` where it is cut short or of no type that RFC 1928 knows.
    """
    size = _ADDRESS_BYTES.get(parcel[0]) if parcel else None  # type: ignore[call-overload]
    if size is None:
        if len(parcel) < 2 or parcel[0] != AddressType.DOMAIN_NAME:
            raise MessageError("a datagram without an address")
        size = 2 + parcel[1] + 2
    if len(parcel) < size:
        raise MessageError("the address of a datagram is cut short")
    return parcel[:size], parcel[size:]


def decode_address(address: bytes) -> TcpDestination:
    """Return what an address says; `MessageError` where no host can be called that."""
    try:
        return messages.decode_destination(Cursor(address))
    except Incomplete:
        raise MessageError("the address of a datagram is cut short") from None


def encode_address(host: str, port: int) -> bytes:
    """Return an address as it is written; `ValueError` if a name is too long for one."""
    return messages.encode_address(host, port)


def parcel_of(datagram: bytes) -> bytes | None:
    """Return the parcel in a datagram of a SOCKS5 client, or None for one that is to be dropped.

    That is one with an address that cannot be read, and every fragment: RFC 1928 leaves it to a
    server whether it puts fragments together, and nobody sends them.
    """
    if len(datagram) <= len(SOCKS5_HEADER) or datagram[2]:
        return None
    parcel = datagram[len(SOCKS5_HEADER) :]
    try:
        split(parcel)
    except MessageError:
        return None
    return parcel
