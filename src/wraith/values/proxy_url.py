"""An upstream proxy as the user writes it; its credentials never show themselves.

    socks5://127.0.0.1:1080
    socks5://user:pass@proxy.example:1080       percent-encoded where a URL needs it
    http://proxy.example:3128
    direct                                      none at all

`socks5h://` is the same as `socks5://`: names are always the proxy's to resolve.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from wraith.errors import UsageError
from wraith.values.address import HostPort
from wraith.values.credentials import Credentials
from wraith.values.host_text import TextError, checked_host, split_host_port

DIRECT: Final = "direct"

_EXPECTED = "socks5://[USER:PASS@]HOST:PORT, http://[USER:PASS@]HOST:PORT or direct"
_SCHEMES = {"socks5": "socks5", "socks5h": "socks5", "http": "http"}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:(.*)@)?([^@]*?)/?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """A proxy: what it speaks (`socks5` or `http`), where it is, and what it asks for.

    Printed, it is the URL without the credentials.
    """

    scheme: str
    address: HostPort
    credentials: Credentials | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"


def parse_proxy_url(text: str) -> ProxyUrl | None:
    """Return the proxy in `text`, or None for `direct`.

    Raises `UsageError`, whose text holds nothing of what was given: what is wrong with it may be
    the very place of the password.
    """
    if text == DIRECT:
        return None
    match = _URL.fullmatch(text)
    if match is None:
        raise _unusable("it is no URL")
    scheme, user_info, where = match.groups()
    if scheme.lower() not in _SCHEMES:
        raise _unusable("its scheme is neither socks5 nor http")
    try:
        address = _address(where)
    except TextError as error:
        raise _unusable(str(error)) from None
    credentials = None if user_info is None else _credentials(user_info)
    return ProxyUrl(_SCHEMES[scheme.lower()], address, credentials)


def _address(text: str) -> HostPort:
    host, port = split_host_port(text)
    host = checked_host(host)
    if not port:
        raise TextError("the port is missing")
    return HostPort(host, port)


def _credentials(user_info: str) -> Credentials:
    """The user name ends at the first colon; each is decoded by itself, so both may hold any."""
    username, colon, password = user_info.partition(":")
    if not colon:
        raise _unusable("there is a user name but no password")
    try:
        decoded = [unquote(part, errors="strict") for part in (username, password)]
    except UnicodeDecodeError:
        raise _unusable("its credentials are not UTF-8") from None
    return Credentials(*decoded)


def _unusable(problem: str) -> UsageError:
    return UsageError(f"cannot use this proxy: {problem} (expected {_EXPECTED})")
