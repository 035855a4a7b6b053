"""What a client says of itself: its session, and what each interface carries.

Interfaces are named by where they listen. Where their connections lead is nowhere in here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InterfaceStatus:
    """One interface; `kind` is `socks5`, `forward` or `remote-forward`.

    `bytes_in` came from those who connected to it, `bytes_out` went to them.
    """

    kind: str
    listen: str
    open: int
    total: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class Status:
    """A client at one moment; times in seconds, `round_trip` None where it is not known."""

    state: str
    since: float
    """For how long it has been in this state."""

    server: str
    transport: str
    path: str
    """How the transport reaches the server, where it has a word for it, such as `direct`."""

    round_trip: float | None
    channels: int
    reason: str
    """Why there is no session; "" while there is one."""

    retry_in: float | None
    interfaces: tuple[InterfaceStatus, ...]

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes to the server and from it, over all interfaces and sessions."""
        up = down = 0
        for each in self.interfaces:
            came, went = each.bytes_in, each.bytes_out
            # Whoever connects to a remote forward sits on the server's side.
            up, down = (up + went, down + came) if each.kind == REMOTE else (up + came, down + went)
        return up, down


SOCKS5, FORWARD, REMOTE = "socks5", "forward", "remote-forward"
