"""The listening side of SOCKS4, and of SOCKS4a, which adds names.

Neither has an RFC; these are the words of Ying-Da Lee's two documents, "SOCKS: A protocol for TCP
proxy across firewalls" and its 4A extension. Only CONNECT is served.

A request is 8 bytes, a user id and perhaps a name, each at most 255 bytes and a NUL: the machine
gives up on more than that.
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum

from wraith.errors import Refusal, UsageError
from wraith.protocol.events import NEED_DATA, ConnectRequest, Failed, ServerEvent
from wraith.protocol.listening_side import ListeningSide
from wraith.protocol.machine import Cursor, Incomplete
from wraith.values.address import HostPort, TcpDestination
from wraith.values.host_text import MAX_HOST_BYTES

VERSION = 4
CONNECT = 1

#: The documents give the user id no limit; ours is that of a name.
MAX_USER_ID_BYTES = 255


class Socks4Reply(IntEnum):
    """The two answers that are used; 92 and 93 are about identd."""

    REQUEST_GRANTED = 90
    REQUEST_REJECTED = 91


class Socks4Server(ListeningSide):
    """One client's handshake: its request comes out, `reply` goes back.

    The user id proves nothing and is dropped. So, where credentials are demanded, make it not
    `allowed`: then every request is read and rejected.
    """

    def __init__(self, *, allowed: bool = True) -> None:
        super().__init__()
        self._allowed = allowed

    def reply(self, code: Socks4Reply, bound: HostPort | None = None) -> None:
        """Answer the request; only a grant begins the relaying.

        `bound` is our address on the far side; clients ignore it, and what is not IPv4 has no
        place in the message. Raises `LocalProtocolError` unless a request waits for its answer.
        """
        granted = code is Socks4Reply.REQUEST_GRANTED
        self._answer(_encode_reply(code, bound), granted=granted)

    def accept(self, bound: HostPort | None = None) -> None:
        """Answer "request granted"; as `reply`."""
        self.reply(Socks4Reply.REQUEST_GRANTED, bound)

    def refuse(self, refusal: Refusal) -> None:
        """Answer "request rejected or failed", the only word there is; as `reply`."""
        self.reply(Socks4Reply.REQUEST_REJECTED)

    def _read_event(self) -> ServerEvent:
        try:
            return ConnectRequest(self._decode(self._decode_request))
        except Incomplete:
            return NEED_DATA
        except UsageError:
            reason = "the host is no name or address"
        except ValueError as error:
            reason = str(error)
        self._send(_encode_reply(Socks4Reply.REQUEST_REJECTED))
        return Failed(reason)

    def _decode_request(self, cursor: Cursor) -> TcpDestination:
        if cursor.byte() != VERSION:
            raise ValueError("unknown version")
        command, port, address = cursor.byte(), cursor.port(), cursor.take(4)
        cursor.until_nul(MAX_USER_ID_BYTES)
        host = _decode_name(cursor) if _is_4a(address) else str(ipaddress.IPv4Address(address))
        if command != CONNECT:
            raise ValueError("command not supported")
        if not self._allowed:
            raise ValueError("SOCKS4 is not allowed here")
        return TcpDestination.from_wire(host, port)


def _is_4a(address: bytes) -> bool:
    """Whether the address is one of 0.0.0.1 to 0.0.0.255, which say that a name follows."""
    return address[:3] == b"\0\0\0" and address[3] != 0


def _decode_name(cursor: Cursor) -> str:
    try:
        return cursor.until_nul(MAX_HOST_BYTES).decode()
    except UnicodeDecodeError:
        raise ValueError("the host is not UTF-8") from None


def _encode_reply(code: Socks4Reply, bound: HostPort | None = None) -> bytes:
    host, port = (bound.host, bound.port) if bound else ("", 0)
    try:
        packed = ipaddress.IPv4Address(host).packed
    except ValueError:
        packed = bytes(4)
    return bytes([0, code]) + port.to_bytes(2, "big") + packed
