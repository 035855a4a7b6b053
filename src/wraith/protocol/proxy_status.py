"""Why an HTTP proxy did not open a tunnel, beyond what a status code can say.

There is a standard field for it, `Proxy-Status` (RFC 9209), which our own local port sends and a
few proxies do. Squid has a field of its own:

    Proxy-Status: wraith; error=connection_refused
    X-Squid-Error: ERR_CONNECT_FAIL 111
"""

from __future__ import annotations

import re

from wraith.errors import Refusal
from wraith.protocol import far_errno
from wraith.protocol.http_head import ResponseHead

# RFC 9209, section 2.3; the first of each reason is the one that we send.
_TOKENS = {
    Refusal.PROHIBITED: ("http_request_denied", "destination_ip_prohibited"),
    Refusal.REFUSED: ("connection_refused",),
    Refusal.HOST_UNREACHABLE: ("destination_unavailable", "destination_not_found"),
    Refusal.NETWORK_UNREACHABLE: ("destination_ip_unroutable",),
    Refusal.TIMED_OUT: ("connection_timeout", "http_response_timeout"),
    Refusal.NAME_UNKNOWN: ("dns_error", "dns_timeout"),
    Refusal.RESOURCE_SHORTAGE: ("connection_limit_reached",),
    Refusal.UNSUPPORTED: ("proxy_configuration_error",),
    Refusal.FAILED: ("proxy_internal_error",),
}
_BY_TOKEN = {token: refusal for refusal, tokens in _TOKENS.items() for token in tokens}

_ERROR = re.compile(rb";\s*error=([a-z_]{1,64})")

_SQUID_ERRNO = re.compile(rb"ERR_CONNECT_FAIL ([0-9]{1,5})")
_SQUID_ERRORS = {
    b"ERR_ACCESS_DENIED": Refusal.PROHIBITED,
    b"ERR_CONNECT_FAIL": Refusal.HOST_UNREACHABLE,
    b"ERR_DNS_FAIL": Refusal.NAME_UNKNOWN,
}

# Where nothing else is said. A proxy that could not get through says 500, 502 or 503, whatever
# the reason was.
_STATUSES = {
    403: Refusal.PROHIBITED,
    405: Refusal.PROHIBITED,
    404: Refusal.HOST_UNREACHABLE,
    408: Refusal.TIMED_OUT,
    500: Refusal.HOST_UNREACHABLE,
    502: Refusal.HOST_UNREACHABLE,
    503: Refusal.HOST_UNREACHABLE,
    504: Refusal.TIMED_OUT,
}


def encode_proxy_status(refusal: Refusal) -> bytes:
    """Return the header line that tells a client about `refusal`."""
    return b"Proxy-Status: wraith; error=%b\r\n" % _TOKENS[refusal][0].encode()


def decode_refusal(head: ResponseHead) -> Refusal:
    """Return why a proxy did not open the tunnel, as well as its answer says it."""
    return (
        _from_proxy_status(head) or _from_squid(head) or _STATUSES.get(head.status, Refusal.FAILED)
    )


def _from_proxy_status(head: ResponseHead) -> Refusal | None:
    """The last entry of the last field is of the proxy that we talk to (RFC 9209, section 2)."""
    tokens = [token for value in head.values(b"proxy-status") for token in _ERROR.findall(value)]
    return _BY_TOKEN.get(tokens[-1].decode()) if tokens else None


def _from_squid(head: ResponseHead) -> Refusal | None:
    for value in head.values(b"x-squid-error"):
        errno = _SQUID_ERRNO.match(value)
        known = far_errno.refusal_of(int(errno[1])) if errno else None
        return known or _SQUID_ERRORS.get(value.partition(b" ")[0])
    return None
