"""The reserved service `wraith-echo`: what is sent comes back, for diagnosis."""

from __future__ import annotations

import asyncio


class EchoService(asyncio.Protocol):
    """Sends back what it receives, at the pace at which it is read."""

    _stream: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self._stream.write(data)

    def pause_writing(self) -> None:
        """The client does not read: take no more from it."""
        self._stream.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stream.resume_reading()

    def eof_received(self) -> bool:
        """The client has said all: so have we."""
        return False
