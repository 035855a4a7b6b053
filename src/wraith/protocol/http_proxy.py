"""The listening side of an HTTP proxy (RFC 9110, section 7; RFC 9112, section 3.2).

    CONNECT host:port HTTP/1.1          a tunnel
    GET http://host/path HTTP/1.1       one plain request, rewritten for the origin
    GET /proxy.pac HTTP/1.1             the browser's configuration
    GET /path HTTP/1.1                  400: this is no web site

At most `MAX_HEAD_BYTES` of a head are waited for. What comes after it, such as a body, is passed
on as it is.
"""

from __future__ import annotations

import base64
import binascii
import re

from wraith.errors import ChannelRefused, Refusal, UsageError
from wraith.protocol import http_answers
from wraith.protocol.events import (
    NEED_DATA,
    BadRequest,
    ConnectRequest,
    Failed,
    PacRequest,
    ServerEvent,
)
from wraith.protocol.http_answers import pac_file
from wraith.protocol.http_head import (
    MAX_HEAD_BYTES,
    HeadError,
    RequestHead,
    find_head_end,
    head_for_origin,
    parse_head,
)
from wraith.protocol.listening_side import ListeningSide
from wraith.protocol.proxy_status import encode_proxy_status
from wraith.values.address import HostPort, parse_tcp_destination
from wraith.values.credentials import Credentials

__all__ = ["PAC_PATH", "HttpProxyServer", "pac_file"]

PAC_PATH = b"/proxy.pac"

_HTTP_PORT = 80
_ABSOLUTE_FORM = re.compile(rb"http://([^/?#]*)([^#]*)", re.IGNORECASE)
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

# RFC 9110, section 15.6: whoever waits in vain for the origin says 504, all other trouble is 502.
_STATUSES = {Refusal.PROHIBITED: 403, Refusal.TIMED_OUT: 504}


class HttpProxyServer(ListeningSide):
    """One client's request; `reply` answers it.

    With `credentials` the client has to send them in its first request (`Proxy-Authorization:
    Basic`), or meets 407. The configuration and the 400 page are for everybody.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        super().__init__()
        self._credentials = credentials
        self._scanned = 0
        self._tunnel = True
        self._upstream_head = b""

    @property
    def upstream_head(self) -> bytes:
        """The head to send to the origin, empty for a tunnel; `trailing_data` begins with it."""
        return self._upstream_head

    def reply(self, status: int, text: str = "", extra_headers: bytes = b"") -> None:
        """Answer the request: 200 begins the relaying, all others are a page that says `text`.

        A request that is not a tunnel is answered by the origin, so 200 then sends nothing.
        Raises `LocalProtocolError` unless a request waits for its answer, and `ValueError` for a
        status that HTTP does not have.
        """
        granted = status == 200
        if granted:
            message = http_answers.ESTABLISHED
        else:
            message = http_answers.page(status, text, extra_headers)
        self._answer(message if self._tunnel or not granted else b"", granted=granted)

    def accept(self, bound: HostPort | None = None) -> None:
        """Answer 200; as `reply`. HTTP has no place for `bound`."""
        self.reply(200)

    def refuse(self, refusal: Refusal) -> None:
        """Answer 403, 504 or 502 with a sentence; as `reply`."""
        text = f"Wraith: {ChannelRefused(refusal)}.\n"
        self.reply(_STATUSES.get(refusal, 502), text, encode_proxy_status(refusal))

    def _read_event(self) -> ServerEvent:
        end = find_head_end(self._incoming, self._scanned)
        self._scanned = len(self._incoming)
        if (end or self._scanned) > MAX_HEAD_BYTES:
            return self._bad_request(f"its head is longer than {MAX_HEAD_BYTES} bytes")
        if end is None:
            return NEED_DATA
        try:
            head = parse_head(self._decode(lambda cursor: cursor.take(end)))
            return self._judge(head)
        except HeadError as error:
            return self._bad_request(str(error))
        except (UsageError, UnicodeDecodeError):
            return self._bad_request("its target is not a host that could be reached")

    def _judge(self, head: RequestHead) -> ServerEvent:
        if head.method == b"CONNECT":
            return self._connect(head, head.target)
        absolute = _ABSOLUTE_FORM.fullmatch(head.target)
        if absolute is not None:
            self._tunnel = False
            return self._connect(head, absolute[1], absolute[2])
        if head.method == b"GET" and head.target.partition(b"?")[0] == PAC_PATH:
            return self._pac_request(head)
        if b"://" in head.target:
            return self._bad_request("only http:// can be asked for without CONNECT")
        return self._bad_request("it asks for a page of this server")

    def _connect(self, head: RequestHead, authority: bytes, path: bytes = b"") -> ServerEvent:
        default_port = None if self._tunnel else _HTTP_PORT
        destination = parse_tcp_destination(authority.decode(), default_port=default_port)
        if not self._is_authenticated(head):
            self._send(http_answers.authentication_required())
            return Failed("the credentials for the proxy are missing or wrong")
        if not self._tunnel:
            self._prepare_relay(head, authority, path)
        return ConnectRequest(destination, tunnel=self._tunnel)

    def _prepare_relay(self, head: RequestHead, authority: bytes, path: bytes) -> None:
        """Put the rewritten head before what follows it, so that both are relayed as one."""
        if not path and head.method == b"OPTIONS":
            path = b"*"  # RFC 9112, section 3.2.4
        elif not path.startswith(b"/"):
            path = b"/" + path
        self._upstream_head = head_for_origin(head, authority, path)
        self._incoming[:0] = self._upstream_head

    def _is_authenticated(self, head: RequestHead) -> bool:
        if self._credentials is None:
            return True
        username, password = _basic(head.values(b"proxy-authorization"))
        return self._credentials.matches(username, password)

    def _pac_request(self, head: RequestHead) -> ServerEvent:
        hosts = head.values(b"host") or [b""]
        if hosts != [b""] and (len(hosts) > 1 or _HOST.fullmatch(hosts[0]) is None):
            return self._bad_request("its Host is not one host")
        return PacRequest(hosts[0].decode())

    def _bad_request(self, reason: str) -> BadRequest:
        self._send(http_answers.wrong_door(reason))
        return BadRequest(reason)


def _basic(values: list[bytes]) -> tuple[bytes, bytes]:
    """Return the user name and the password (RFC 7617, section 2), both empty if there are none."""
    scheme, _, encoded = (values[0] if len(values) == 1 else b"").partition(b" ")
    if scheme.lower() != b"basic":
        return b"", b""
    try:
        username, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return b"", b""
    return username, password
