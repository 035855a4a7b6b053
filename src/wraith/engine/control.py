"""The control channel: messages in, messages out, and the end of the engine when it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wraith._version import __version__
from wraith.engine.engine import Engine
from wraith.engine.frames import PROTOCOL, FrameError, FrameReader, encode
from wraith.engine.host_socket import HostSocket
from wraith.errors import UsageError
from wraith.streams.log_line import log_event
from wraith.streams.socket_stream import open_socket_stream

_log = logging.getLogger("wraith.engine")

GOODBYE = 4.0
"""Seconds in which everything must have ended once the host has gone."""


class Control(asyncio.Protocol):
    """The protocol on the engine's end of the channel."""

    def __init__(self, host: HostSocket) -> None:
        self._engine = Engine(host, self._send, self._broken)
        self._reader = FrameReader()
        self._stream: asyncio.Transport
        self._gone = asyncio.Event()
        self.failed = False
        """Whether the host said something that cannot be understood."""

    def __repr__(self) -> str:
        return f"<Control {'gone' if self._gone.is_set() else 'open'}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are."""
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport
        self._send({"event": "hello", "protocol": PROTOCOL, "version": __version__})

    def _send(self, head: Mapping[str, Any]) -> None:
        self._stream.write(encode(head))

    def data_received(self, data: bytes) -> None:
        """Do what the host asks, message by message."""
        try:
            for message in self._reader.feed(data):
                self._engine.handle(message)
        except FrameError as error:
            self._broken(error)

    def _broken(self, error: FrameError) -> None:
        log_event(_log, logging.ERROR, "control channel unusable", reason=str(error))
        self.failed = True
        self._stream.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The host has gone."""
        self._gone.set()

    def stop(self) -> None:
        """End although the host is still there."""
        self._stream.abort()

    async def run(self) -> None:
        """Wait for the host to go, and end everything."""
        try:
            await self._gone.wait()
        finally:
            async with asyncio.timeout(GOODBYE):
                await self._engine.close()


async def run(descriptor: int, directory: Path) -> int:
    """Be the engine of whoever holds the other end of `descriptor`; returns the exit code.

    `directory` is where the host listens; it is gone when this returns. Raises `UsageError` if the
    descriptor is no socket.
    """
    host = HostSocket(directory)
    try:
        control = Control(host)
        await open_socket_stream(_socket(descriptor), control)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, control.stop)
        await control.run()
        return int(control.failed)
    except TimeoutError:
        return 1
    finally:
        host.remove()


def _socket(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise UsageError(
            f"descriptor {descriptor} is no socket",
            hint="the engine is started by the Node package, not by hand",
        ) from error
    os.set_inheritable(descriptor, False)
    sock.setblocking(False)
    return sock
