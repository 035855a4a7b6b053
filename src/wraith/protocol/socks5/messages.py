"""The messages of SOCKS5, RFC 1928 and RFC 1929, to bytes and back.

In the order in which they travel: the greeting offers methods and the choice picks one; with user
name and password there are the credentials and a status; then a request and its reply.

Every decoder reads from a `Cursor`. It raises `Incomplete` while bytes are missing, and
`MessageError` as soon as no further byte can help. No message is longer than 513 bytes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from wraith.errors import UsageError
from wraith.protocol.machine import Cursor
from wraith.values.address import HostPort, TcpDestination
from wraith.values.credentials import Credentials
from wraith.values.host_text import MAX_HOST_BYTES

VERSION = 5

#: RFC 1929 counts its own versions.
AUTHENTICATION_VERSION = 1


class Method(IntEnum):
    """How a client proves who it is (RFC 1928, section 3)."""

    NO_AUTHENTICATION_REQUIRED = 0x00
    GSSAPI = 0x01
    USERNAME_PASSWORD = 0x02
    NO_ACCEPTABLE_METHODS = 0xFF


class Command(IntEnum):
    """What a client asks for (RFC 1928, section 4)."""

    CONNECT = 0x01
    BIND = 0x02
    UDP_ASSOCIATE = 0x03


class AddressType(IntEnum):
    """How an address is written (RFC 1928, section 5)."""

    IPV4 = 0x01
    DOMAIN_NAME = 0x03
    IPV6 = 0x04


class Reply(IntEnum):
    """What became of a request (RFC 1928, section 6)."""

    SUCCEEDED = 0x00
    GENERAL_FAILURE = 0x01
    NOT_ALLOWED = 0x02
    NETWORK_UNREACHABLE = 0x03
    HOST_UNREACHABLE = 0x04
    CONNECTION_REFUSED = 0x05
    TTL_EXPIRED = 0x06
    COMMAND_NOT_SUPPORTED = 0x07
    ADDRESS_TYPE_NOT_SUPPORTED = 0x08


_UNKNOWN_ADDRESS = bytes([AddressType.IPV4]) + bytes(6)


class MessageError(ValueError):
    """A message that cannot be accepted; `reply` is the code to answer with, if there is one."""

    def __init__(self, message: str, reply: Reply | None = None) -> None:
        super().__init__(message)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived: `command` may be none that we know."""

    command: int
    destination: TcpDestination


def encode_greeting(methods: Iterable[Method]) -> bytes:
    """Return the client's first message, which offers `methods`."""
    offered = bytes(methods)
    return bytes([VERSION, len(offered)]) + offered


def decode_greeting(cursor: Cursor) -> bytes:
    """Return the methods that a client offers, one byte each and perhaps none."""
    _check_version(cursor, VERSION, None)
    return cursor.counted()


def encode_choice(method: Method) -> bytes:
    """Return the server's answer to a greeting."""
    return bytes([VERSION, method])


def decode_choice(cursor: Cursor) -> int:
    """Return the method that a server chose, which may be none that we know."""
    _check_version(cursor, VERSION, None)
    return cursor.byte()


def encode_credentials(credentials: Credentials) -> bytes:
    """Return the client's user name and password (RFC 1929, section 2)."""
    username, password = credentials.username.encode(), credentials.password.encode()
    return b"%c%c%b%c%b" % (
        AUTHENTICATION_VERSION,
        len(username),
        username,
        len(password),
        password,
    )


def decode_credentials(cursor: Cursor) -> tuple[bytes, bytes]:
    """Return a client's user name and password, either perhaps empty."""
    _check_version(cursor, AUTHENTICATION_VERSION, None)
    return cursor.counted(), cursor.counted()


def encode_status(*, accepted: bool) -> bytes:
    """Return the server's answer to credentials: zero is success."""
    return bytes([AUTHENTICATION_VERSION, not accepted])


def decode_status(cursor: Cursor) -> bool:
    """Return whether a server accepted our credentials."""
    _check_version(cursor, AUTHENTICATION_VERSION, None)
    return cursor.byte() == 0


def encode_request(command: Command, destination: TcpDestination) -> bytes:
    """Return a request; `ValueError` if the name is longer than a name can be."""
    address = encode_address(destination.host, destination.port)
    return bytes([VERSION, command, 0]) + address


def decode_request(cursor: Cursor) -> Request:
    """Return a client's request; the reserved byte may be anything, as with other servers."""
    _check_version(cursor, VERSION, Reply.GENERAL_FAILURE)
    command, _ = cursor.byte(), cursor.byte()
    return Request(command, decode_destination(cursor))


def decode_destination(cursor: Cursor) -> TcpDestination:
    """Return the address, with its type and port, that a client wants to reach."""
    try:
        return TcpDestination.from_wire(_decode_host(cursor), cursor.port())
    except UnicodeDecodeError:
        reason = "the host is not UTF-8"
    except UsageError:
        reason = "the host is no name or address"
    raise MessageError(reason, Reply.GENERAL_FAILURE)


def encode_reply(code: Reply, bound: HostPort | None = None) -> bytes:
    """Return a reply; an unknown `bound` is `0.0.0.0:0`, as other servers have it."""
    if bound is None:
        return bytes([VERSION, code, 0]) + _UNKNOWN_ADDRESS
    return bytes([VERSION, code, 0]) + encode_address(bound.host or "0.0.0.0", bound.port)  # noqa: S104


def decode_reply(cursor: Cursor) -> tuple[int, HostPort]:
    """Return a server's reply code and the address that it bound.

    Of a refusal only the code is read: no address was bound, and some proxies send none.
    """
    _check_version(cursor, VERSION, None)
    code = cursor.byte()
    if code != Reply.SUCCEEDED:
        return code, HostPort("", 0)
    cursor.byte()  # reserved
    host = _decode_host(cursor, errors="backslashreplace")
    return code, HostPort(host, cursor.port())


def encode_address(host: str, port: int) -> bytes:
    """Return an address with its type and port; `ValueError` if a name is too long for one."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    if isinstance(literal, ipaddress.IPv4Address):
        written = bytes([AddressType.IPV4]) + literal.packed
    elif literal is not None and literal.scope_id is None:
        written = bytes([AddressType.IPV6]) + literal.packed
    else:  # a name, or an address with a zone, for which the binary form has no room
        written = _encode_name(host.encode())
    return written + port.to_bytes(2, "big")


def _encode_name(name: bytes) -> bytes:
    if len(name) > MAX_HOST_BYTES:
        raise ValueError(f"the host is longer than {MAX_HOST_BYTES} bytes")
    return bytes([AddressType.DOMAIN_NAME, len(name)]) + name


def _decode_host(cursor: Cursor, errors: str = "strict") -> str:
    match cursor.byte():
        case AddressType.IPV4:
            return "{}.{}.{}.{}".format(*cursor.take(4))
        case AddressType.IPV6:
            return str(ipaddress.IPv6Address(cursor.take(16)))
        case AddressType.DOMAIN_NAME:
            return cursor.counted().decode(errors=errors)
        case _:
            raise MessageError("unknown address type", Reply.ADDRESS_TYPE_NOT_SUPPORTED)


def _check_version(cursor: Cursor, expected: int, reply: Reply | None) -> None:
    if cursor.byte() != expected:
        raise MessageError("unknown version", reply)
