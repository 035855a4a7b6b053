"""Both ends in one process, without a network: what tests and users' tests build on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from wraith.errors import ListenError, TransportError
from wraith.streams.memory import memory_pair
from wraith.transports.base import Accept, PeerInfo, ProtocolFactory, ServeSettings


class MemoryTransport:
    """Connects to the `MemoryAcceptor` that it was made with."""

    name = "memory"
    server = "memory"

    def __init__(self, acceptor: MemoryAcceptor) -> None:
        self._acceptor = acceptor

    def __repr__(self) -> str:
        return "<MemoryTransport>"

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        """As `Transport.connect`; it never waits."""
        return self._acceptor.connect(factory)

    async def close(self) -> None:
        """As `Transport.close`; nothing is shared."""


class MemoryAcceptor:
    """Accepts the streams of one process."""

    addresses = ("memory://",)
    invitation = ()
    notes: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        self._accept: Accept | None = None

    def __repr__(self) -> str:
        return f"<MemoryAcceptor accepting={self._accept is not None}>"

    async def start(self, accept: Accept) -> None:
        """Begin to accept."""
        if self._accept is not None:
            raise ListenError("this in-memory acceptor is already in use")
        self._accept = accept

    async def close(self) -> None:
        """Stop accepting."""
        self._accept = None

    async def wait_closed(self) -> None:
        """As `Acceptor.wait_closed`; nothing is shared."""

    def reload(self, settings: ServeSettings) -> None:
        """As `Acceptor.reload`; there are no files."""

    def connect(self, factory: ProtocolFactory) -> asyncio.Transport:
        """One more stream to whoever accepts here. Raises `TransportError` where nobody does."""
        protocol = (
            self._accept(PeerInfo("memory", "127.0.0.1")) if self._accept is not None else None
        )
        if protocol is None:
            raise TransportError("cannot reach the in-memory server: it does not accept")
        return memory_pair(factory(), protocol)[0]
