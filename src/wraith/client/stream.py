"""The single duplex stream: one channel of one session, for programs that want no more."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from wraith.client.connect import Client, connect
from wraith.client.options import ConnectOptions
from wraith.values.address import Destination, TcpDestination, parse_destination


class DuplexStream:
    """Bytes both ways; made by `open_stream`, an async context manager.

    Reading and writing raise what asyncio's streams raise: `ConnectionResetError` when the channel
    is cut short, `IncompleteReadError` from `readexactly`.
    """

    def __init__(
        self, client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._client = client
        self._writer = writer
        self.reader = reader
        """The receiving half, as asyncio's own reader."""

    def __repr__(self) -> str:
        state = "closed" if self._writer.is_closing() else "open"
        return f"<wraith.DuplexStream {state}>"

    async def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, or all until the end; b"" at the end."""
        return await self.reader.read(size)

    async def readexactly(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        return await self.reader.readexactly(size)

    async def write(self, data: bytes) -> None:
        """Send bytes, waiting while the other side does not take them."""
        self._writer.write(data)
        await self._writer.drain()

    def write_eof(self) -> None:
        """End our direction; the other stays open."""
        self._writer.write_eof()

    async def close(self) -> None:
        """End the stream and its session. May be called more than once."""
        self._writer.close()
        await self._client.close(drain=1.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def open_stream(options: ConnectOptions, destination: str | Destination) -> DuplexStream:
    """One channel to `host:port`, a Unix socket path, or a reserved name such as `wraith-echo:0`.

    The session belongs to the stream and ends with it. Raises what entering `connect` raises, and
    `ChannelRefused` with the reason.
    """
    where = parse_destination(destination) if isinstance(destination, str) else destination
    client = connect(options)
    try:
        await client.start()
        if isinstance(where, TcpDestination):
            reader, writer = await client.open_connection(where.host, where.port)
        else:
            reader, writer = await client.open_unix_connection(where.path)
    except BaseException:
        await client.close()
        raise
    return DuplexStream(client, reader, writer)
