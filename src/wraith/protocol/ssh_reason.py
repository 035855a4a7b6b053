"""Why a destination was not reached, through SSH_MSG_CHANNEL_OPEN_FAILURE (RFC 4254, 5.1).

That message has a code, which tells hardly more than yes from no, and a text for people. Our
server begins the text with the name of an errno, which our client reads back exactly:

    2  "ECONNREFUSED: connection refused"

Other servers' texts are mapped as well as they can be. Neither side's text may hold a
destination, as it may end up in somebody's log.
"""

from __future__ import annotations

import re
from enum import IntEnum

from wraith.errors import Refusal
from wraith.protocol import far_errno


class OpenFailure(IntEnum):
    """The codes of RFC 4254, section 5.1."""

    ADMINISTRATIVELY_PROHIBITED = 1
    CONNECT_FAILED = 2
    UNKNOWN_CHANNEL_TYPE = 3
    RESOURCE_SHORTAGE = 4


_CODES = {
    Refusal.PROHIBITED: OpenFailure.ADMINISTRATIVELY_PROHIBITED,
    Refusal.RESOURCE_SHORTAGE: OpenFailure.RESOURCE_SHORTAGE,
    Refusal.UNSUPPORTED: OpenFailure.UNKNOWN_CHANNEL_TYPE,
}

_TEXTS = {
    Refusal.PROHIBITED: "not allowed",
    Refusal.REFUSED: "connection refused",
    Refusal.HOST_UNREACHABLE: "no route to host",
    Refusal.NETWORK_UNREACHABLE: "network is unreachable",
    Refusal.TIMED_OUT: "connection timed out",
    Refusal.NAME_UNKNOWN: "name or service not known",
    Refusal.RESOURCE_SHORTAGE: "too many channels",
    Refusal.UNSUPPORTED: "not supported",
    Refusal.FAILED: "connect failed",
}

_BY_CODE = {int(code): refusal for refusal, code in _CODES.items()}
_BY_NAME = {refusal.value: refusal for refusal in Refusal}

_OUR_PREFIX = re.compile(r"(E[A-Z]+):")

# asyncssh sends the text of Python's OSError.
_ERRNO = re.compile(r"\[errno (-?[0-9]{1,5})\]")

# Words of strerror and gai_strerror (OpenSSH and Dropbear send those), of Go's net package and of
# asyncssh, in lower case. The first that occurs decides.
_PHRASES = (
    ("connection refused", Refusal.REFUSED),
    ("no route to host", Refusal.HOST_UNREACHABLE),
    ("host is unreachable", Refusal.HOST_UNREACHABLE),
    ("host is down", Refusal.HOST_UNREACHABLE),
    ("network is unreachable", Refusal.NETWORK_UNREACHABLE),
    ("network unreachable", Refusal.NETWORK_UNREACHABLE),
    ("timed out", Refusal.TIMED_OUT),
    ("timeout", Refusal.TIMED_OUT),
    ("name or service not known", Refusal.NAME_UNKNOWN),
    ("nodename nor servname", Refusal.NAME_UNKNOWN),
    ("name resolution", Refusal.NAME_UNKNOWN),
    ("no address associated with", Refusal.NAME_UNKNOWN),
    ("no such host", Refusal.NAME_UNKNOWN),
    ("too many open files", Refusal.RESOURCE_SHORTAGE),
    ("prohibited", Refusal.PROHIBITED),
    ("not permitted", Refusal.PROHIBITED),
    ("permission denied", Refusal.PROHIBITED),
    ("forwarding denied", Refusal.PROHIBITED),
)


def encode_refusal(refusal: Refusal) -> tuple[int, str]:
    """Return the code and the reason text that tell the peer about `refusal`."""
    code = _CODES.get(refusal, OpenFailure.CONNECT_FAILED)
    return int(code), f"{refusal.value}: {_TEXTS[refusal]}"


def decode_refusal(code: int, reason: str) -> Refusal:
    """Return what a peer's code and reason text mean; `Refusal.FAILED` when that is unclear.

    Our own prefix decides first, then words that we know, then the code. Both come from the peer
    and may be anything.
    """
    named = _from_our_prefix(reason) or _from_errno(reason) or _from_phrase(reason)
    return named or _BY_CODE.get(code, Refusal.FAILED)


def _from_our_prefix(reason: str) -> Refusal | None:
    match = _OUR_PREFIX.match(reason)
    return _BY_NAME.get(match[1]) if match else None


def _from_errno(reason: str) -> Refusal | None:
    match = _ERRNO.search(reason.lower())
    return far_errno.refusal_of(int(match[1])) if match else None


def _from_phrase(reason: str) -> Refusal | None:
    lowered = reason.lower()
    return next((refusal for phrase, refusal in _PHRASES if phrase in lowered), None)
