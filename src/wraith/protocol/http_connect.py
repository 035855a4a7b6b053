"""The side of HTTP that asks an upstream proxy for a tunnel (RFC 9110, section 9.3.6).

It speaks first, credentials included where there are any: a proxy that did not ask for them drops
the field. Only the head of the answer is read; of a refusal, the page that comes with it is not.
"""

from __future__ import annotations

import base64
from http import HTTPStatus

from wraith.protocol.asking_side import AskingSide
from wraith.protocol.events import (
    NEED_DATA,
    AuthenticationFailed,
    ClientEvent,
    Connected,
    Malformed,
    Refused,
)
from wraith.protocol.http_head import (
    MAX_HEAD_BYTES,
    HeadError,
    ResponseHead,
    find_head_end,
    parse_response_head,
)
from wraith.protocol.proxy_status import decode_refusal
from wraith.values.address import HostPort, TcpDestination
from wraith.values.credentials import Credentials
from wraith.values.host_text import checked_host

# Beyond these it would be waiting for an answer that never comes.
MAX_INTERIM_ANSWERS = 8

# tinyproxy answers wrong credentials as if it were the origin, with 401.
_UNAUTHENTICATED = (HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, HTTPStatus.UNAUTHORIZED)

_UNKNOWN_ADDRESS = HostPort("", 0)


class HttpConnectClient(AskingSide):
    """One request to an HTTP proxy, as `AskingSide`.

    Names are sent as names, for the proxy to resolve, in IDNA's spelling where they are not ASCII.
    Raises `ValueError` for what can be no host, so that nothing in it ends up as a header.
    """

    def __init__(self, destination: TcpDestination, credentials: Credentials | None = None) -> None:
        super().__init__()
        self._scanned = 0
        self._interim = 0
        self._send(_encode_request(destination, credentials))

    def _read_event(self) -> ClientEvent:
        """Read heads until one is final."""
        try:
            while (head := self._read_head()) is not None:
                if head.status >= HTTPStatus.OK:
                    return _judge(head)
                self._interim += 1
                if self._interim > MAX_INTERIM_ANSWERS:
                    return Malformed("the proxy only ever says that it is busy")
        except HeadError as error:
            return Malformed(str(error))
        return NEED_DATA

    def _read_head(self) -> ResponseHead | None:
        end = find_head_end(self._incoming, self._scanned)
        self._scanned = len(self._incoming)
        if (end or self._scanned) > MAX_HEAD_BYTES:
            raise HeadError(f"the head of the answer is longer than {MAX_HEAD_BYTES} bytes")
        if end is None:
            self._check_beginning()
            return None
        self._scanned = 0
        return parse_response_head(self._decode(lambda cursor: cursor.take(end)))

    def _check_beginning(self) -> None:
        """What is no HTTP shows at once; its head would never end."""
        expected = b"HTTP/1."
        if not expected.startswith(self._incoming[: len(expected)]):
            raise HeadError("the answer does not begin as HTTP/1 does")

    def __repr__(self) -> str:
        return f"<HttpConnectClient, {self._outcome or 'waiting for the answer'}>"


def _judge(head: ResponseHead) -> ClientEvent:
    if head.status < HTTPStatus.MULTIPLE_CHOICES:
        return Connected(_UNKNOWN_ADDRESS)
    if head.status in _UNAUTHENTICATED:
        return AuthenticationFailed()
    return Refused(head.status, decode_refusal(head))


def _encode_request(destination: TcpDestination, credentials: Credentials | None) -> bytes:
    authority = _authority(destination)
    lines = [b"CONNECT %b HTTP/1.1" % authority, b"Host: " + authority]
    if credentials is not None:
        pair = f"{credentials.username}:{credentials.password}".encode()
        lines.append(b"Proxy-Authorization: Basic " + base64.b64encode(pair))
    return b"\r\n".join([*lines, b"", b""])


def _authority(destination: TcpDestination) -> bytes:
    host = checked_host(destination.host)
    if not host.isascii():
        host = host.encode("idna").decode()  # UnicodeError is a ValueError
    return TcpDestination(host, destination.port).reveal().encode()
