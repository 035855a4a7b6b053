"""What one key may have forwarded: the `permitopen` and `permitlisten` of authorized_keys.

    permitopen="db.internal:5432"      permitopen="[2001:db8::1]:*"      permitopen="*:443"
    permitopen="wraith-control:*"      permitopen="/run/web.sock"        (of Wraith alone)
    permitlisten="8080"                permitlisten="localhost:*"

As in sshd(8) a host of `permitopen` is a literal name or address: nothing is resolved, and there
are no wildcards but `*` for any host and any port. It is compared without regard to case, where
OpenSSH is strict, since no two hosts differ by case alone. A host of `permitlisten` is a pattern.

The services that Wraith answers itself, and Unix sockets, have no place in OpenSSH's format. A key
with limits of its own has them only when a `permitopen` names them; `*` names none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from wraith.policy.openssh_patterns import match_pattern
from wraith.values.address import RESERVED_PREFIX, Destination, TcpDestination, UnixDestination

ANY_HOST = "*"


@dataclass(frozen=True, slots=True, repr=False)
class PermitOpen:
    """One `permitopen`: a host and a port (None is any), or the path of a Unix socket."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the `permitopen` in `host:port`, `[ipv6]:port` or `/path`; `ValueError`.

        Port 0 is for reserved names alone, where the port says nothing.
        """
        if text.startswith("/"):
            return cls(text)
        host, port = _split(text)
        if port == 0 and not _is_reserved(host):
            raise ValueError("there is no port 0 to open")
        return cls(host.lower(), port)

    def matches(self, destination: TcpDestination) -> bool:
        """Whether this is the destination, reserved names apart."""
        host_matches = self.host in {ANY_HOST, destination.host.lower()}
        return host_matches and self.port in {None, destination.port}

    def __repr__(self) -> str:
        return "<PermitOpen ***>"


@dataclass(frozen=True, slots=True)
class PermitListen:
    """One `permitlisten`: a pattern for the host to listen on, and a port (None is any)."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the `permitlisten` in `[host:]port`; `ValueError`. Port 0 is any, like `*`."""
        host, port = _split(text if ":" in text else f"*:{text}")
        return cls(host.lower(), port or None)

    def matches(self, host: str, port: int) -> bool:
        """Whether the address may be listened on; for port 0 any port must be permitted."""
        return self.port in {None, port} and match_pattern(host.lower(), self.host)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What one authenticated key may have forwarded; the server's own rules apply on top.

    `allowed` is port forwarding as such. `restricted` is a key with `restrict`,
    `no-port-forwarding` or `permitopen`: Wraith's services and Unix sockets must be named to it.
    Empty lists limit nothing. The default allows everything.
    """

    allowed: bool = True
    restricted: bool = False
    permit_open: tuple[PermitOpen, ...] = ()
    permit_listen: tuple[PermitListen, ...] = ()

    def may_open(self, destination: Destination) -> bool:
        """Whether a channel to `destination` may be opened, of whichever kind it is."""
        if isinstance(destination, UnixDestination):
            return self.may_open_unix(destination.path)
        if destination.is_reserved:
            return self.may_reserved(destination.host)
        if not self.permit_open:
            return self.allowed
        return self.allowed and any(permit.matches(destination) for permit in self.permit_open)

    def may_open_unix(self, path: str) -> bool:
        """Whether a channel to the Unix socket at `path` may be opened."""
        return self._is_named(path)

    def may_reserved(self, host: str) -> bool:
        """Whether a channel to the reserved name `host` (the bus, UDP, …) may be opened."""
        return self._is_named(host.lower())

    def may_listen(self, host: str, port: int) -> bool:
        """Whether `host`, as the client asked for it, and `port` may be listened on."""
        if not self.permit_listen:
            return self.allowed
        return self.allowed and any(permit.matches(host, port) for permit in self.permit_listen)

    def may_listen_unix(self) -> bool:
        """Whether Unix sockets may be listened on, which no option can name."""
        return self.allowed and not self.restricted and not self.permit_listen

    def _is_named(self, host: str) -> bool:
        if not self.restricted:
            return self.allowed
        return any(permit.host == host for permit in self.permit_open)


#: What is left to a certificate without `permit-port-forwarding`.
NO_FORWARDING = Forwarding(allowed=False, restricted=True)


def _is_reserved(host: str) -> bool:
    return host.lower().startswith(RESERVED_PREFIX)


def _split(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address goes in brackets")
    if not host or not colon:
        raise ValueError("the host is missing")
    return host, _port(port)


def _port(text: str) -> int | None:
    if text == "*":
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > 65535:
        raise ValueError("the port is neither a number up to 65535 nor *")
    return int(text)
