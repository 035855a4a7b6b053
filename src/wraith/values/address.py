"""Hosts and ports, in their three roles.

- `HostPort` and `UnixPath`: the tunnel's own addresses (a server, a local bind). They are printed.
- `TcpDestination` and `UnixDestination`: where a user wants to go. They are never printed: `repr`
  and `str` say only that there is one, and only `reveal()` gives the text, for the wire or for
  the user who wrote it.
- `ListenAddress`: what `wraith serve --listen` names, a transport and where it listens.

The parsers raise `UsageError`. About the tunnel's own addresses it shows the offending text;
about a destination it says what is wrong, but not with what.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self, TypeAlias

from wraith.errors import UsageError
from wraith.values.host_text import (
    TextError,
    bracketed,
    checked_host,
    has_control_characters,
    split_host_port,
)

#: Names that the server answers itself and never resolves or dials, such as `wraith-udp`.
RESERVED_PREFIX = "wraith-"

#: Where a transport listens when `--listen` names no port.
DEFAULT_PORTS = {"tcp": 22, "tls": 443}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HostPort:
    """An address of the tunnel itself; an empty host is every interface, IPv4 and IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixPath:
    """The path of a Unix-domain socket of our own; a leading `~` is the caller's to expand."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True, repr=False)
class TcpDestination:
    """A host, by name or by address without brackets, and a port that a user wants to reach."""

    host: str
    port: int

    @classmethod
    def from_wire(cls, host: str, port: int) -> Self:
        """Return the destination that a stranger asked for, brackets taken off and checked.

        Raises `UsageError`, without the host in its text, when no host can be called that.
        """
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        try:
            return cls(checked_host(host), port)
        except TextError as error:
            raise _bad_destination(error) from None

    @property
    def is_reserved(self) -> bool:
        """Whether the host is one of those that only the Wraith server itself can answer."""
        return self.host.lower().startswith(RESERVED_PREFIX)

    def reveal(self) -> str:
        """Return `host:port`, IPv6 in brackets: for the wire or the user, never for a log."""
        return f"{bracketed(self.host)}:{self.port}"

    def __repr__(self) -> str:
        return "<TcpDestination ***>"


@dataclass(frozen=True, slots=True, repr=False)
class UnixDestination:
    """A Unix-domain socket, on the far side, that a user wants to reach."""

    path: str

    def reveal(self) -> str:
        """Return the path: for the wire or the user, never for a log."""
        return self.path

    def __repr__(self) -> str:
        return "<UnixDestination ***>"


Destination: TypeAlias = TcpDestination | UnixDestination


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A transport by its scheme, and where it listens; an empty host is every interface."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        if self.scheme not in DEFAULT_PORTS and not self.host and not self.port:
            return f"{self.scheme}://"
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


def is_unix_path(text: str) -> bool:
    """Whether `text` names a Unix socket: like OpenSSH, whatever has a slash in it."""
    return "/" in text


def parse_host_port(text: str, *, default_port: int | None = None) -> HostPort:
    """Return the address in `HOST:PORT` or `[IPV6]:PORT`.

    With a `default_port` the port may be left out, and an IPv6 address may then stand without
    brackets. Raises `UsageError`.
    """
    try:
        host, port = split_host_port(text)
        return HostPort(checked_host(host), _given(port, default_port))
    except TextError as error:
        expected = "HOST:PORT" if default_port is None else "HOST[:PORT]"
        raise UsageError(
            f"cannot use the address {text!r}: {error} (expected {expected}, IPv6 in brackets)"
        ) from None


def parse_destination(text: str) -> Destination:
    """Return the destination in `HOST:PORT`, `[IPV6]:PORT` or the path of a Unix socket.

    Raises `UsageError`, whose text does not hold the destination.
    """
    if not is_unix_path(text):
        return parse_tcp_destination(text)
    if has_control_characters(text):
        raise _bad_destination("the path holds a control character")
    return UnixDestination(text)


def parse_tcp_destination(text: str, *, default_port: int | None = None) -> TcpDestination:
    """Return the destination in `HOST:PORT` or `[IPV6]:PORT`, as `parse_host_port` reads it.

    Raises `UsageError`, whose text does not hold the destination.
    """
    try:
        host, port = split_host_port(text)
        return TcpDestination(checked_host(host), _given(port, default_port))
    except TextError as error:
        raise _bad_destination(error) from None


def parse_listen(text: str, *, default_scheme: str = "tcp") -> ListenAddress:
    """Return the address in `ADDR:PORT` or `SCHEME://ADDR:PORT`.

    `:PORT` and `*:PORT` are every interface; without a port it is the scheme's own, if it has
    one (`DEFAULT_PORTS`). Others, such as `iroh://`, may need neither. Whether a scheme exists is
    not asked here. Raises `UsageError`.
    """
    url = _URL.fullmatch(text)
    scheme, rest = (url[1].lower(), url[2]) if url else (default_scheme, text)
    if scheme not in DEFAULT_PORTS and not rest:
        return ListenAddress(scheme, "", 0)
    try:
        host, port = _split_listen(rest)
        return ListenAddress(scheme, host, _given(port, DEFAULT_PORTS.get(scheme)))
    except TextError as error:
        raise UsageError(
            f"cannot listen on {text!r}: {error} (expected ADDR:PORT or SCHEME://ADDR:PORT)"
        ) from None


def _split_listen(text: str) -> tuple[str, int | None]:
    if text.isdigit():
        raise TextError("a port alone is written :PORT")
    host, port = split_host_port(text)
    every_interface = host == "*" or (not host and port is not None and text.startswith(":"))
    return "" if every_interface else checked_host(host), port


def _given(port: int | None, default: int | None) -> int:
    port = default if port is None else port
    if port is None:
        raise TextError("the port is missing")
    return port


def _bad_destination(problem: object) -> UsageError:
    expected = "HOST:PORT, [IPV6]:PORT or the path of a Unix socket"
    return UsageError(f"cannot use this destination: {problem} (expected {expected})")
