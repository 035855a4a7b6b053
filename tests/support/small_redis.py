"""As much of Redis as the bus needs, in this process, and able to misbehave.

https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP 2)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


class SmallRedis:
    """An async context manager; `stop` and `start` as one kills and restarts a server."""

    def __init__(self) -> None:
        self.port = 0
        self.commands: list[list[bytes]] = []
        self.channels: dict[bytes, set[asyncio.StreamWriter]] = {}
        self.refuse: Callable[[list[bytes]], bytes | None] = lambda command: None
        """The answer to a command in place of the usual one; b"" for none at all."""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """All connections are reset, and no new ones are taken."""
        assert self._server is not None
        self._server.close()
        while self._tasks:  # some may only just have been accepted
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0.001)
        self.channels.clear()

    async def __aenter__(self) -> SmallRedis:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        with contextlib.suppress(OSError, EOFError):
            while True:
                command = await self._command(reader)
                self.commands.append(command)
                refused = self.refuse(command)
                writer.write(self._answer(command, writer) if refused is None else refused)
        for writers in self.channels.values():
            writers.discard(writer)
        self._writers.discard(writer)
        self._tasks.discard(task)
        writer.close()

    async def _command(self, reader: asyncio.StreamReader) -> list[bytes]:
        count = int((await reader.readexactly(1) and await reader.readuntil(b"\r\n"))[:-2])
        parts = []
        for _ in range(count):
            size = int((await reader.readuntil(b"\r\n"))[1:-2])
            parts.append((await reader.readexactly(size + 2))[:-2])
        return parts

    def _answer(self, command: list[bytes], writer: asyncio.StreamWriter) -> bytes:
        name, *arguments = command
        if name in (b"SUBSCRIBE", b"UNSUBSCRIBE"):
            return b"".join(self._subscribe(name, channel, writer) for channel in arguments)
        if name == b"PUBLISH":
            channel, body = arguments
            listening = self.channels.get(channel, set())
            for other in listening:
                other.write(_array(b"message", channel, body))
            return b":%d\r\n" % len(listening)
        return _array(b"pong", b"") if name == b"PING" else b"+OK\r\n"

    def _subscribe(self, name: bytes, channel: bytes, writer: asyncio.StreamWriter) -> bytes:
        listening = self.channels.setdefault(channel, set())
        if name == b"SUBSCRIBE":
            listening.add(writer)
        else:
            listening.discard(writer)
        return b"*3\r\n" + _bulk(name.lower()) + _bulk(channel) + b":1\r\n"


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _array(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(map(_bulk, parts))
