"""Whom an iroh transport connects to, and by whose relays.

    ID                  the public key of an endpoint: 64 hex digits, or 52 of base32
    ID@ADDR:PORT        the same, and where it is; IPv6 in brackets
    endpoint…           a ticket: an id, addresses and a relay, as iroh writes them

A ticket is the word `endpoint` and base32 (RFC 4648, lower case, no padding) of a postcard record:
a version, the id, and a list of addresses, each a relay's URL or an IP address with a port. The
same ticket is read by iroh's own tools. Parsers raise `UsageError`.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from dataclasses import dataclass

from wraith.errors import UsageError
from wraith.values.address import HostPort, parse_host_port
from wraith.values.host_text import TextError, checked_host, split_host_port

ID_BYTES = 32
TICKET_PREFIX = "endpoint"
MAX_TICKET = 2048
"""Characters; a real one has some two hundred."""

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P)

_VERSION = 0
_RELAY, _IP = 0, 1
_V4, _V6 = 0, 1
_EXPECTED = "expected an endpoint id, ID@ADDR:PORT or a ticket"


@dataclass(frozen=True, slots=True)
class IrohPeer:
    """An endpoint by its id, in 64 hex digits, and what is known of where it is."""

    id: str
    addresses: tuple[HostPort, ...] = ()
    relay: str | None = None

    @property
    def is_bare(self) -> bool:
        """Whether nothing but the id is known: then somebody must be asked where it is."""
        return not self.addresses and self.relay is None

    def __str__(self) -> str:
        return "@".join([self.id, *(str(address) for address in self.addresses[:1])])


@dataclass(frozen=True, slots=True)
class RelayChoice:
    """The relays to use: one by its URL, the public ones, or (neither) none at all."""

    url: str | None = None
    public: bool = False

    @property
    def is_disabled(self) -> bool:
        """Whether only direct connections are made."""
        return self.url is None and not self.public

    def __str__(self) -> str:
        return self.url or ("public" if self.public else "disabled")


PUBLIC_RELAYS = RelayChoice(public=True)
NO_RELAY = RelayChoice()


def parse_relay(text: str | None) -> RelayChoice:
    """Return the relays that `--iroh-relay` names; None is the public ones."""
    if text is None:
        return PUBLIC_RELAYS
    if text == "disabled":
        return NO_RELAY
    try:
        return RelayChoice(_relay_url(text))
    except TextError as error:
        raise UsageError(
            f"cannot use this iroh relay: {error} (expected https://HOST[:PORT] or disabled)"
        ) from None


def _relay_url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise TextError("it is no http:// or https:// URL")
    authority, _, path = rest.partition("/")
    if path or not authority.isascii() or "?" in authority or "#" in authority:
        raise TextError("it has more than a scheme, a host and a port")
    host, _port = split_host_port(authority)
    checked_host(host)
    return f"{scheme.lower()}://{authority}/"


def parse_iroh_peer(text: str) -> IrohPeer:
    """Return the peer that `--peer` names."""
    if text.lower().startswith(TICKET_PREFIX):
        return parse_ticket(text)
    id_text, at, address_text = text.partition("@")
    try:
        endpoint = _id(id_text)
    except TextError as error:
        raise UsageError(f"cannot use this iroh peer: {error} ({_EXPECTED})") from None
    if not at:
        return IrohPeer(endpoint)
    address = parse_host_port(address_text)
    if not address.port:
        raise UsageError(f"no iroh peer can have port 0: {address_text}")
    return IrohPeer(endpoint, (address,))


def _id(text: str) -> str:
    try:
        raw = bytes.fromhex(text) if len(text) == 2 * ID_BYTES else _base32(text)
    except ValueError:
        raise TextError("the id is neither hex nor base32") from None
    return _checked(raw)


def _checked(raw: bytes) -> str:
    """An id in hex; half of all mistakes in one make it the key of nobody."""
    if len(raw) != ID_BYTES:
        raise TextError("the id does not have 32 bytes")
    if not _is_public_key(raw):
        raise TextError("the id is no public key")
    return raw.hex()


def _is_public_key(raw: bytes) -> bool:
    """Whether 32 bytes are a point of Ed25519's curve (RFC 8032 section 5.1.3)."""
    y_squared = pow(int.from_bytes(raw, "little") % 2**255, 2, _P)
    x_squared = (y_squared - 1) * pow(_D * y_squared + 1, -1, _P) % _P
    return x_squared == 0 or pow(x_squared, (_P - 1) // 2, _P) == 1


def _base32(text: str) -> bytes:
    try:
        return base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def parse_ticket(text: str) -> IrohPeer:
    """Return the peer that a ticket names."""
    try:
        if len(text) > MAX_TICKET:
            raise TextError("it is too long")
        record = _Record(_base32(text[len(TICKET_PREFIX) :]))
        peer = record.peer()
    except (TextError, ValueError) as error:
        reason = error if isinstance(error, TextError) else "it is not base32"
        raise UsageError(
            f"cannot use this iroh ticket: {reason}",
            hint="copy it again, whole, from what the server prints on start",
        ) from None
    return peer


class _Record:
    """What a ticket holds, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def peer(self) -> IrohPeer:
        if self._number() != _VERSION:
            raise TextError("it is of a version that is not known here")
        endpoint = _checked(self._take(ID_BYTES))
        relay: str | None = None
        addresses: list[HostPort] = []
        for _ in range(self._number()):
            kind = self._number()
            if kind == _RELAY:
                found = self._relay()
                relay = relay or found
            elif kind == _IP:
                addresses.append(self._address())
            else:
                raise TextError("it holds an address of a kind that is not known here")
        if self._at != len(self._data):
            raise TextError("it holds more than it should")
        return IrohPeer(endpoint, tuple(addresses), relay)

    def _relay(self) -> str:
        try:
            return _relay_url(self._take(self._number()).decode())
        except UnicodeDecodeError:
            raise TextError("its relay is no text") from None

    def _address(self) -> HostPort:
        family = self._number()
        if family not in (_V4, _V6):
            raise TextError("it holds an address of a kind that is not known here")
        host = ipaddress.ip_address(self._take(4 if family == _V4 else 16))
        port = self._number()
        if not 0 < port <= 0xFFFF:
            raise TextError("it holds an impossible port")
        return HostPort(str(host), port)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise TextError("it is cut short")
        taken, self._at = self._data[self._at : end], end
        return taken

    def _number(self) -> int:
        """A varint of postcard's: seven bits a byte, the lowest first."""
        value = 0
        for shift in range(0, 35, 7):
            (byte,) = self._take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise TextError("it holds an impossible number")


def ticket(peer: IrohPeer) -> str:
    """Return the ticket for a peer whose addresses are IP addresses."""
    entries = [] if peer.relay is None else [_number(_RELAY) + _counted(peer.relay.encode())]
    for address in peer.addresses:
        ip = ipaddress.ip_address(address.host)
        family = _V4 if ip.version == 4 else _V6
        entries.append(_number(_IP) + _number(family) + ip.packed + _number(address.port))
    record = _number(_VERSION) + bytes.fromhex(peer.id) + _number(len(entries)) + b"".join(entries)
    return TICKET_PREFIX + base64.b32encode(record).decode().rstrip("=").lower()


def _counted(data: bytes) -> bytes:
    return _number(len(data)) + data


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
