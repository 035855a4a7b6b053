"""How hosts and ports are written, shared by every value that holds them.

    HOST  HOST:PORT  [IPV6]  [IPV6]:PORT  IPV6

A `TextError` says what is wrong and never repeats the text: the caller knows whether it is a
secret (a destination) or may be shown (an address of the tunnel itself).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata

#: RFC 1928 gives a name one byte for its length; a name in the DNS is no longer than 253.
MAX_HOST_BYTES = 255
MAX_PORT = 65535

_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)
_PLAIN_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)

# None of these occurs in a host name. Letting them through would blur the line to Unix paths (/),
# to wildcards (*) and to the other parts of a URL (@ ? #).
_NOT_IN_A_HOST = frozenset("/\\[]*@?#")

# Control characters, halves of surrogate pairs (undecodable bytes of argv), and every space.
_CONTROLS = frozenset({"Cc", "Cs"})
_SPACES = frozenset({"Zs", "Zl", "Zp"})


class TextError(ValueError):
    """A text that cannot be used; the message says why without repeating it."""


def split_host_port(text: str) -> tuple[str, int | None]:
    """Cut `text` into a host, still unchecked, and the port after it, if there is one.

    More than one colon outside brackets is taken for a bare IPv6 address without a port. Raises
    `TextError` for unbalanced brackets and for what is no port.
    """
    if text.startswith("["):
        match = _BRACKETED.fullmatch(text)
        if match is None:
            raise TextError("after a bracketed host comes :PORT or nothing")
        host, port = match.groups()
    elif text.count(":") == 1:
        host, port = text.split(":")
    else:
        host, port = text, None
    return host, None if port is None else checked_port(port)


def checked_port(text: str) -> int:
    """Return the port that `text` says in ASCII digits; `TextError` beyond 0 to 65535."""
    if _PORT.fullmatch(text) is None or int(text) > MAX_PORT:
        raise TextError("the port is not a number from 0 to 65535")
    return int(text)


def checked_host(text: str) -> str:
    """Return `text` if it can be the name or the address of a host, without brackets.

    Whether such a host exists is for others to find out: names are passed on unresolved. Raises
    `TextError` for what no resolver should ever be asked.
    """
    if _PLAIN_HOST.fullmatch(text):
        return text  # what nearly every host looks like; the rest is about the others
    if not text:
        raise TextError("the host is empty")
    if has_control_characters(text) or any(unicodedata.category(c) in _SPACES for c in text):
        raise TextError("the host holds a space or a control character")
    if len(text.encode()) > MAX_HOST_BYTES:
        raise TextError(f"the host is longer than {MAX_HOST_BYTES} bytes")
    if not _NOT_IN_A_HOST.isdisjoint(text):
        raise TextError("the host holds a character that host names do not have")
    if ":" in text and not is_ipv6(text):
        raise TextError("there are too many colons (an IPv6 address goes in brackets)")
    return text


def has_control_characters(text: str) -> bool:
    """Whether NUL, another control character or an undecodable byte is in `text`."""
    return any(unicodedata.category(c) in _CONTROLS for c in text)


def is_ipv6(text: str) -> bool:
    """Whether `text` is an IPv6 address, perhaps with a zone (`fe80::1%eth0`)."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def bracketed(host: str) -> str:
    """Return `host` as it is written before a port: IPv6 in brackets, all interfaces as `*`."""
    return f"[{host}]" if ":" in host else host or "*"
