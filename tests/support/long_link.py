"""A transport whose every byte is on its way for a while, at any rate: a long, fat link."""

from __future__ import annotations

import asyncio

from wraith.streams.memory import memory_pair
from wraith.transports.base import ProtocolFactory
from wraith.transports.memory import MemoryAcceptor


class LongLink:
    """Connects to an in-memory server, `delay` seconds away.

    `most_under_way` is the most that was ever on its way in one direction, in bytes.
    """

    name = "memory"
    server = "far away"

    def __init__(self, acceptor: MemoryAcceptor, delay: float) -> None:
        self._acceptor = acceptor
        self._delay = delay
        self.most_under_way = 0

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        near, far = _End(self), _End(self)
        near.other, far.other = far, near
        ours, _ = memory_pair(factory(), near)
        self._acceptor.connect(lambda: far)
        return ours

    async def close(self) -> None:
        """Nothing is shared."""

    def carry(self, count: int) -> None:
        self.most_under_way = max(self.most_under_way, count)

    @property
    def delay(self) -> float:
        return self._delay


class _End(asyncio.Protocol):
    """One end of the link: what it receives, the other end sends a while later."""

    other: _End
    stream: asyncio.Transport

    def __init__(self, link: LongLink) -> None:
        self._link = link
        self._under_way = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.stream = transport

    def data_received(self, data: bytes) -> None:
        self._under_way += len(data)
        self._link.carry(self._under_way)
        asyncio.get_running_loop().call_later(self._link.delay, self._arrive, data)

    def _arrive(self, data: bytes) -> None:
        self._under_way -= len(data)
        self.other.stream.write(data)

    def eof_received(self) -> bool:
        asyncio.get_running_loop().call_later(self._link.delay, self.other.stream.write_eof)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._link.delay, self.other.stream.close)
