"""What it means to dial.

A `Dialer` turns a destination into a stream. Direct connections, upstream proxies and the SSH
session itself all dial, so a listener need not know which of them carries its connections.

Where speed matters there is a shorter way: a `Splicer` joins a destination to a bare socket, by
callbacks, without a task or a stream in between. It decides nothing by itself: whatever a dialer
would refuse, it refuses.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

from wraith.errors import Refusal
from wraith.streams.tally import Tally
from wraith.values.address import Destination


class Dialer(Protocol):
    """Something that can reach destinations."""

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Open a stream to `destination` and set `protocol` on it.

        `protocol.connection_made` has been called when this returns. Raises `ChannelRefused` with
        the reason, or `SessionLost` where a session is needed and none is there. Cancelled, it
        leaves nothing open.
        """
        ...


class SocketDialer(Dialer, Protocol):
    """A dialer whose streams are sockets of this machine, and may be had as such."""

    async def connect(self, destination: Destination) -> socket.socket:
        """A connected, non-blocking socket to the destination; refused as by `dial`."""
        ...

    def connect_soon(self, destination: Destination, outcome: Outcome) -> Attempt | None:
        """Connect by callback, as `connect` would; None when the outcome has been told already."""
        ...


class Spliceable(Protocol):
    """The far half of a connection, reached or about to be."""

    tally: Tally | None
    """Whose carrier it is, and who hears of its end."""

    @property
    def carried(self) -> tuple[int, int]:
        """As `Carrier.carried`."""
        ...

    def relay(self, sock: socket.socket, early: bytes = b"", *, ended: bool = False) -> None:
        """Join it to a non-blocking socket, and own that from now on.

        `early` has been received from the socket already; `ended` says whether its end has, too.
        """
        ...

    def abandon(self) -> None:
        """Nobody wants it any more."""
        ...


class SpliceOwner(Protocol):
    """Whoever asked for a connection and has a socket for it."""

    def spliced(self, channel: Spliceable) -> None:
        """The destination is reached: call `relay` or `abandon` now."""
        ...

    def not_spliced(self, reason: Refusal | None) -> None:
        """It is not; None when the session ended."""
        ...


class Splicer(Protocol):
    """Something that can reach destinations the short way."""

    def splice(self, destination: Destination, owner: SpliceOwner) -> Spliceable | None:
        """Begin to reach `destination`; None where only the ordinary way is open just now."""
        ...


class Outcome(Protocol):
    """Whoever waits for a socket."""

    def connected(self, sock: socket.socket) -> None:
        """Here it is, non-blocking and theirs."""
        ...

    def failed(self, reason: Refusal) -> None:
        """There is none."""
        ...


class Attempt(Protocol):
    """A connection on its way."""

    def cancel(self) -> None:
        """Give it up; nobody is told. Nothing happens if it has ended."""
        ...
