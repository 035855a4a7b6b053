"""What a transport is: a way to get one duplex byte stream between a client and a server.

The connecting side has `Transport.connect`, the accepting side an `Acceptor`. Neither knows what is
said on the stream, and what is said there cannot learn which transport carries it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Who is at the other end of an accepted stream, as far as the transport knows.

    `address` is a network address as text, without a port; "" where the medium has none.
    """

    transport: str
    address: str


ProtocolFactory = Callable[[], asyncio.Protocol]

Accept = Callable[[PeerInfo], asyncio.Protocol | None]
"""Called for each stream that comes in, before a byte is read; None turns the peer away."""


class Transport(Protocol):
    """The connecting side."""

    @property
    def name(self) -> str:
        """The transport's name on the command line, such as `tcp`."""
        ...

    @property
    def server(self) -> str:
        """Whom it connects to, for messages to the user and as the key for known hosts."""
        ...

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        """Make one stream and set the factory's protocol on it.

        `timeout` is in seconds. Raises `TransportError` in one sentence that names the server and
        the reason. Cancelled, it leaves nothing open.
        """
        ...


class Acceptor(Protocol):
    """The accepting side: a bound address from which streams come."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses really bound, in URL form, such as `tcp://127.0.0.1:2222`."""
        ...

    async def start(self, accept: Accept) -> None:
        """Begin to accept. Raises `ListenError`."""
        ...

    async def close(self) -> None:
        """Stop accepting, and free the addresses; streams already accepted live on."""
        ...
