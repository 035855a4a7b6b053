"""What a TLS client asks for in its first message (RFC 8446, section 4.1.2), before any answer.

Only the server's name and the protocols offered (ALPN) are read, and nothing is decided. What is
odd is not an error here: the TLS library has the last word on every handshake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from wraith.protocol.events import NEED_DATA, NeedData
from wraith.protocol.machine import Cursor, Incomplete

_HANDSHAKE = 22  # the content type of a record, RFC 8446 section 5.1
_CLIENT_HELLO = 1
_SERVER_NAME, _ALPN = 0, 16  # extensions, RFC 6066 section 3 and RFC 7301
_HOST_NAME = 0

#: A hello of some hundred bytes is usual; one with post-quantum keys has nearly two thousand.
MAX_HELLO_BYTES: Final = 32 * 1024

#: A record holds 16 KiB at most (section 5.1); what says more is no TLS.
_MAX_RECORD = (1 << 14) + 256

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The name that was asked for, in lower case, or ""; the protocols in the client's order."""

    server_name: str = ""
    protocols: tuple[bytes, ...] = ()


def read_client_hello(data: bytes) -> ClientHello | NeedData | None:
    """Return what a client that sent `data` asks for, from the first byte of its connection on.

    `NEED_DATA` while it can still become a hello, None as soon as it cannot.
    """
    try:
        return _read(Cursor(_handshake_of(data)))
    except Incomplete:
        return NEED_DATA if len(data) <= MAX_HELLO_BYTES else None
    except ValueError:
        return None


def _handshake_of(data: bytes) -> bytes:
    """The handshake message, put together from as many records as it takes and are there."""
    cursor, message = Cursor(data), bytearray()
    while cursor.position < len(data) and not _is_whole(message):
        if cursor.byte() != _HANDSHAKE:
            raise ValueError("no handshake record")
        version, size = cursor.take(2), cursor.port()
        if version[0] != 3 or not 0 < size <= _MAX_RECORD:
            raise ValueError("no record of TLS")
        there = min(size, len(data) - cursor.position)
        message += cursor.take(there)
        if message and message[0] != _CLIENT_HELLO:
            raise ValueError("no hello")
    return bytes(message)


def _is_whole(message: bytearray) -> bool:
    return len(message) >= 4 + int.from_bytes(message[1:4], "big")


def _read(cursor: Cursor) -> ClientHello:
    cursor.byte()  # a hello, as was seen before
    body = cursor.take(int.from_bytes(cursor.take(3), "big"))
    try:
        return _read_body(Cursor(body))
    except Incomplete:  # within a message that is complete
        raise ValueError("a hello that contradicts itself") from None


def _read_body(cursor: Cursor) -> ClientHello:
    cursor.take(2 + 32)  # legacy_version, random
    cursor.counted()  # legacy_session_id
    cursor.take(cursor.port())  # cipher_suites
    cursor.counted()  # legacy_compression_methods
    extensions = Cursor(cursor.take(cursor.port()))
    name = ""
    protocols: tuple[bytes, ...] = ()
    while (kind := _next_or_none(extensions)) is not None:
        content = Cursor(extensions.take(extensions.port()))
        if kind == _SERVER_NAME:
            name = _read_name(content)
        elif kind == _ALPN:
            protocols = _read_protocols(content)
    return ClientHello(name, protocols)


def _next_or_none(cursor: Cursor) -> int | None:
    try:
        return cursor.port()
    except Incomplete:
        return None


def _read_name(content: Cursor) -> str:
    names = Cursor(content.take(content.port()))
    if names.byte() != _HOST_NAME:
        return ""
    return names.take(names.port()).decode("ascii", "replace").lower()


def _read_protocols(content: Cursor) -> tuple[bytes, ...]:
    size = content.port()
    names, protocols = Cursor(content.take(size)), []
    while names.position < size:
        protocols.append(names.counted())
    return tuple(protocols)
