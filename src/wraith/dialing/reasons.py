"""An operating system's error, as the reason that a client is told, and as words for the user."""

from __future__ import annotations

import errno
import socket

from wraith.errors import Refusal

_BY_ERRNO = {
    errno.ECONNREFUSED: Refusal.REFUSED,
    errno.EHOSTUNREACH: Refusal.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Refusal.HOST_UNREACHABLE,
    errno.ENETUNREACH: Refusal.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Refusal.NETWORK_UNREACHABLE,
    errno.EADDRNOTAVAIL: Refusal.NETWORK_UNREACHABLE,
    errno.ETIMEDOUT: Refusal.TIMED_OUT,
    errno.EACCES: Refusal.PROHIBITED,
    errno.EPERM: Refusal.PROHIBITED,
    errno.EMFILE: Refusal.RESOURCE_SHORTAGE,
    errno.ENFILE: Refusal.RESOURCE_SHORTAGE,
    errno.ENOBUFS: Refusal.RESOURCE_SHORTAGE,
    errno.ENOMEM: Refusal.RESOURCE_SHORTAGE,
    errno.EAGAIN: Refusal.RESOURCE_SHORTAGE,  # a backlog that is full, or no local port left
    # A Unix socket that is not there, or that nobody listens on.
    errno.ENOENT: Refusal.REFUSED,
    errno.ENOTSOCK: Refusal.REFUSED,
    errno.ENOTDIR: Refusal.REFUSED,
}


def refusal_for(error: OSError) -> Refusal:
    """The reason for an error of `connect` or of name resolution; `FAILED` where none fits."""
    if isinstance(error, socket.gaierror):
        return Refusal.NAME_UNKNOWN
    if isinstance(error, TimeoutError):
        return Refusal.TIMED_OUT
    return _BY_ERRNO.get(error.errno or 0, Refusal.FAILED)


def told(error: OSError) -> str:
    """The same error as words for a person, about an address that the user has given."""
    if isinstance(error, socket.gaierror):
        return "the name is unknown, or cannot be resolved now"
    if error.errno == errno.ECONNREFUSED:
        return "connection refused: nothing listens on that port"
    return (error.strerror or str(error)).lower()
