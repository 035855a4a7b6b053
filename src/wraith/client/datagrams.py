"""Datagrams for programs: an association without SOCKS, as an object to send and receive with."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from wraith.protocol.datagrams import (
    MAX_PARCEL,
    FrameReader,
    decode_address,
    encode_address,
    frames,
    split,
)
from wraith.protocol.socks5.messages import MessageError
from wraith.values.address import TcpDestination

QUEUE = 128 * 1024
"""Bytes that may wait in either direction; what is more is dropped, as datagrams are."""


class Datagrams(asyncio.Protocol):
    """One association; made by `Client.open_datagrams`, an async context manager.

    Like UDP it promises nothing: what the server does not allow, cannot send, or has no room for is
    lost without a word. It lasts as long as the session that it was opened in.
    """

    def __init__(self) -> None:
        self._channel: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._received: deque[tuple[bytes, str, int]] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._full = self._ended = False

    def __repr__(self) -> str:
        return f"<wraith.Datagrams {'ended' if self._ended else 'open'}>"

    def send(self, payload: bytes, host: str, port: int) -> None:
        """Send one datagram; the server resolves a name.

        Raises `UsageError` for an impossible host, `ValueError` for a port or payload that no
        datagram can have, and `ConnectionResetError` once the association has ended.
        """
        if self._ended or self._channel is None:
            raise ConnectionResetError("the association has ended")
        if not 0 <= port <= 0xFFFF:
            raise ValueError("a port has 16 bits")
        where = TcpDestination.from_wire(host, port)
        parcel = encode_address(where.host, port) + payload
        if len(parcel) > MAX_PARCEL:
            raise ValueError(f"a datagram with its address has at most {MAX_PARCEL} bytes")
        if not self._full:
            self._channel.write(frames([parcel]))

    async def receive(self) -> tuple[bytes, str, int]:
        """The next datagram: its payload, and whom it is from, by the name that was written to.

        Raises `ConnectionResetError` once the association has ended and all was received.
        """
        while not self._received:
            if self._ended:
                raise ConnectionResetError("the association has ended")
            self._news.clear()
            await self._news.wait()
        datagram = self._received.popleft()
        self._waiting_bytes -= len(datagram[0])
        return datagram

    def close(self) -> None:
        """End the association. May be called more than once."""
        self._ended = True
        self._news.set()
        if self._channel is not None:
            self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # As the protocol of the channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server has granted it."""
        assert isinstance(transport, asyncio.Transport)
        self._channel = transport
        transport.set_write_buffer_limits(QUEUE)

    def data_received(self, data: bytes) -> None:
        """Datagrams have come."""
        for parcel in self._reader.receive_data(data):
            try:
                written, payload = split(parcel)
                sender = decode_address(written)
            except MessageError:
                continue
            if self._waiting_bytes + len(payload) <= QUEUE:
                self._waiting_bytes += len(payload)
                self._received.append((payload, sender.host, sender.port))
                self._news.set()

    def pause_writing(self) -> None:
        """The tunnel is full."""
        self._full = True

    def resume_writing(self) -> None:
        """It has room."""
        self._full = False

    def eof_received(self) -> bool:
        """The server ends it."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._ended = True
        self._news.set()
