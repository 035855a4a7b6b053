"""The other side of an engine, in Python: a host that asks, and takes the streams."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from wraith.engine.control import run
from wraith.engine.frames import FrameReader, encode
from wraith.engine.host_socket import SOCKET_NAME, TOKEN_SIZE

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class EngineHost:
    """One end of a control channel whose other end is an engine in this very loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._expected: dict[bytes, asyncio.Future[Streams]] = {}
        self._numbers = itertools.count(1)
        self.writer: asyncio.StreamWriter
        self._ours: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        path = str(self.directory / SOCKET_NAME)
        self._server = await asyncio.start_unix_server(self._came, path)
        reader, self.writer = await asyncio.open_connection(sock=ours)
        self.engine = asyncio.create_task(run(theirs.detach(), self.directory))
        self._reading = asyncio.create_task(self._read(reader))
        assert (await self.event())["event"] == "hello"

    async def close(self) -> None:
        self.writer.close()
        await asyncio.wait([self.engine, self._reading])
        self._server.close()
        for writer in self._ours:
            writer.close()
        for late in self._expected.values():
            late.cancel()
        await asyncio.sleep(0.01)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        frames = FrameReader()
        while data := await reader.read(65536):
            for message in frames.feed(data):
                head = dict(message.head)
                if "id" in head:
                    self._answers.pop(head["id"]).set_result(head)
                else:
                    self.events.put_nowait(head)

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ours.append(writer)
        token = await reader.readexactly(TOKEN_SIZE)
        self._expected.pop(token).set_result((reader, writer))

    def tell(self, op: str, *, blobs: list[bytes] | None = None, **fields: Any) -> None:
        """Say something; blobs stand behind the message as the package puts them there."""
        blobs = blobs or []
        message = encode({"op": op, **fields, "blobs": [len(blob) for blob in blobs]})
        self.writer.write(message + b"".join(blobs))

    def ask(self, op: str, **fields: Any) -> tuple[int, asyncio.Future[dict[str, Any]]]:
        """Ask for something; the number of the request and its answer to come."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self.tell(op, id=number, **fields)
        return number, answer

    async def call(self, op: str, **fields: Any) -> dict[str, Any]:
        """Ask for something and wait for the whole answer."""
        return await self.ask(op, **fields)[1]

    async def open(
        self, op: str, number: int, *, blobs: list[bytes] | None = None, **fields: Any
    ) -> Streams:
        """Ask for a stream of this number and wait for both the answer and the stream."""
        token = os.urandom(TOKEN_SIZE)
        come = self._expected[token] = asyncio.get_running_loop().create_future()
        blobs = [*(blobs or []), token]
        place = {"blob": len(blobs) - 1}
        answer = await self.call(op, stream=number, token=place, blobs=blobs, **fields)
        if "error" in answer:
            self._expected.pop(token).cancel()
            raise Refused(answer["error"])
        reader, writer = await come
        return reader, writer

    async def event(self) -> dict[str, Any]:
        """The next thing that the engine tells."""
        async with asyncio.timeout(10):
            return await self.events.get()


class Refused(Exception):
    """The engine answered with an error."""

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(error["message"])
        self.error = error
        self.code = error["code"]


@asynccontextmanager
async def engine_host() -> AsyncIterator[EngineHost]:
    """A host with its engine; its directory must be gone at the end."""
    directory = Path(tempfile.mkdtemp(prefix="wraith-"))
    host = EngineHost(directory)
    await host.start()
    try:
        yield host
    finally:
        await host.close()
        assert not directory.exists()
