"""What the local port says in HTTP: short pages in plain text, and the proxy configuration."""

from __future__ import annotations

import re
from http import HTTPStatus

from wraith.values.address import HostPort

#: What begins a tunnel. RFC 9110, section 9.3.6, wants no body, and so no length, after CONNECT.
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

_AUTHENTICATE = b'Proxy-Authenticate: Basic realm="wraith", charset="UTF-8"\r\n'

_WRONG_DOOR = """\
This is the port of a Wraith tunnel. It is a proxy, not a web site.

Set it as the SOCKS5 or HTTP proxy of a program, for example:

    curl --proxy socks5h://ADDRESS:PORT https://example.org/

or give a browser http://ADDRESS:PORT/proxy.pac as its automatic proxy configuration, where
ADDRESS:PORT is what you connected to just now.

This request was not answered because {reason}.
"""

# The names and addresses that can stand in a PAC file as they are.
_PLAIN_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")

_PAC = """\
function FindProxyForURL(url, host) {{
    return "SOCKS5 {0}; SOCKS {0}; PROXY {0}";
}}
"""


def page(status: int, text: str, extra_headers: bytes = b"") -> bytes:
    """Return a complete response in plain text, after which the connection closes.

    Raises `ValueError` for a status that HTTP does not have.
    """
    return response(status, "text/plain; charset=utf-8", text, extra_headers)


def wrong_door(reason: str) -> bytes:
    """Return the 400 page for whoever takes this port for a web site, or talks nonsense to it."""
    return page(HTTPStatus.BAD_REQUEST, _WRONG_DOOR.format(reason=reason))


def authentication_required() -> bytes:
    """Return the 407 page that makes a browser ask for a user name and a password (RFC 7617)."""
    text = "This proxy wants a user name and a password.\n"
    return page(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, text, _AUTHENTICATE)


def pac_file(proxy: HostPort) -> bytes:
    """Return the complete response that tells a browser to use `proxy` for everything.

    `proxy` is the local port as the browser reaches it. Its host goes into a script, so anything
    but a plain name or address raises `ValueError`.
    """
    address = str(proxy)
    if _PLAIN_ADDRESS.fullmatch(address) is None:
        raise ValueError("not an address that a PAC file can hold")
    content_type = "application/x-ns-proxy-autoconfig"
    return response(HTTPStatus.OK, content_type, _PAC.format(address))


def response(status: int, content_type: str, text: str, extra_headers: bytes = b"") -> bytes:
    """Return a complete response of any type, as `page` does."""
    status = HTTPStatus(status)
    body = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n"
    )
    return head.encode() + extra_headers + b"\r\n" + body
