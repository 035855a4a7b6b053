"""Forwards, written as OpenSSH writes them.

    -L  LISTEN:TARGET            LISTEN = [BIND:]PORT     TARGET = HOST:HOSTPORT
    -R  LISTEN:TARGET                   | /PATH                  | /PATH
    -R  [BIND:]PORT

    5432:db.internal:5432        on localhost, to a host that the far side resolves
    *:8080:[2001:db8::1]:80      on every interface; an empty BIND says the same
    [::1]:8080:/run/web.sock     to a Unix socket, which is whatever has a slash in it
    ./db.sock:db.internal:5432   from a Unix socket
    127.0.0.1:0:localhost:80     on a port that the system picks
    1080                         -R alone: a SOCKS proxy, on the server's side

    5432                         -L needs a target
    5432:db.internal             the target needs a port
    5432:db.internal:0           0 is a port to listen on, not to reach
    ::1:8080:localhost:80        IPv6 goes in brackets

The errors say what is wrong and which forms there are. They do not repeat the text, as a target
is a destination; `LocalForward` and `RemoteForward` hide it in their `repr` for the same reason.
Unlike OpenSSH, `/` does not stand for `:`, and `\\` escapes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wraith.errors import UsageError
from wraith.values.address import (
    Destination,
    HostPort,
    TcpDestination,
    UnixDestination,
    UnixPath,
    is_unix_path,
)
from wraith.values.host_text import (
    TextError,
    checked_host,
    checked_port,
    has_control_characters,
)

_FORMS = "[bind:]port:host:hostport, [bind:]port:/path, /path:host:hostport or /path:/path"
_REMOTE_FORMS = f"{_FORMS}, or [bind:]port for a SOCKS proxy"

# One field: brackets with anything but brackets in them, or anything without a colon.
_FIELD = re.compile(r"\[(?P<bracketed>[^\[\]]*)\]|(?P<plain>[^:\[\]]*)")


@dataclass(frozen=True, slots=True)
class LocalForward:
    """`-L`: what connects to `listen` here is carried to `target` over there."""

    listen: HostPort | UnixPath
    target: Destination

    def reveal(self) -> str:
        """Return the forward as a user would write it, with its target."""
        return f"{self.listen}:{self.target.reveal()}"


@dataclass(frozen=True, slots=True)
class RemoteForward:
    """`-R`: what connects to `listen` over there is carried to `target` here.

    Without a target the far side's clients choose one each, by SOCKS.
    """

    listen: HostPort | UnixPath
    target: Destination | None

    def reveal(self) -> str:
        """Return the forward as a user would write it, with its target."""
        return f"{self.listen}:{self.target.reveal()}" if self.target else str(self.listen)


def parse_local_forward(text: str) -> LocalForward:
    """Return the forward that `-L` describes; `UsageError` if it is in none of the forms."""
    try:
        listen, target = _split(_fields(text))
        return LocalForward(_listen(listen), _target(target))
    except TextError as error:
        raise UsageError(f"cannot use this forward: {error} (expected {_FORMS})") from None


def parse_remote_forward(text: str) -> RemoteForward:
    """Return the forward that `-R` describes; `UsageError` if it is in none of the forms."""
    try:
        fields = _fields(text)
        if len(fields) <= 2 and not any(map(is_unix_path, fields)):
            return RemoteForward(_listen(fields), None)
        listen, target = _split(fields)
        return RemoteForward(_listen(listen), _target(target))
    except TextError as error:
        message = f"cannot use this remote forward: {error} (expected {_REMOTE_FORMS})"
        raise UsageError(message) from None


def _fields(text: str) -> list[str]:
    if has_control_characters(text):
        raise TextError("there is a control character in it")
    fields, position = [], 0
    while True:
        match = _FIELD.match(text, position)
        assert match is not None  # a plain field may be empty
        fields.append(match["plain"] if match["bracketed"] is None else match["bracketed"])
        position = match.end() + 1
        if match.end() == len(text):
            return fields
        if text[match.end()] != ":":
            raise TextError("brackets go round a whole address")


def _split(fields: list[str]) -> tuple[list[str], list[str]]:
    """Cut the fields into those of the listening side and those of the target.

    A path is one field and a host with its port are two, so the last field tells how many the
    target has, and the first how many the listening side must have.
    """
    target_length = 1 if is_unix_path(fields[-1]) else 2
    listen, target = fields[:-target_length], fields[-target_length:]
    if not listen:
        raise TextError("a part is missing")
    if len(listen) > (1 if is_unix_path(listen[0]) else 2):
        raise TextError("there are too many parts (an IPv6 address goes in brackets)")
    return listen, target


def _listen(fields: list[str]) -> HostPort | UnixPath:
    if is_unix_path(fields[0]):
        return UnixPath(fields[0])
    bind = "localhost" if len(fields) == 1 else fields[0]
    host = "" if bind in {"", "*"} else checked_host(bind)
    return HostPort(host, checked_port(fields[-1]))


def _target(fields: list[str]) -> Destination:
    if len(fields) == 1:
        return UnixDestination(fields[0])
    host, port = checked_host(fields[0]), checked_port(fields[1])
    if port == 0:
        raise TextError("port 0 cannot be reached")
    return TcpDestination(host, port)
