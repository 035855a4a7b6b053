"""Stdin and stdout, or one descriptor, as something to await; whatever kind of file they are."""

from __future__ import annotations

import asyncio
import os
import stat
from types import TracebackType
from typing import Self


class Pipe:
    """Where a `wraith stream` ends: descriptors 0 and 1, or the one given for both.

    Pipes, sockets and terminals are read without blocking by the event loop; regular files, which
    it cannot wait for, are read and written directly.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._in = 0 if descriptor is None else descriptor
        self._out = 1 if descriptor is None else descriptor
        self._was_blocking: dict[int, bool] = {}

    async def __aenter__(self) -> Self:
        for descriptor in {self._in, self._out}:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                self._was_blocking[descriptor] = os.get_blocking(descriptor)
                os.set_blocking(descriptor, False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The descriptors may be shared with a shell, which would not expect them like this.
        for descriptor, blocking in self._was_blocking.items():
            os.set_blocking(descriptor, blocking)

    async def read(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        while True:
            try:
                return os.read(self._in, size)
            except BlockingIOError:
                await self._ready(self._in, writing=False)
            except ConnectionResetError:
                return b""

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises `BrokenPipeError` when nobody reads any more."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._out, left) :]
            except BlockingIOError:
                await self._ready(self._out, writing=True)

    async def write_eof(self) -> None:
        """Tell whoever reads that no more comes."""
        if self._out == self._in:
            import socket

            with socket.socket(fileno=os.dup(self._out)) as duplex:
                duplex.shutdown(socket.SHUT_WR)

    async def _ready(self, descriptor: int, *, writing: bool) -> None:
        loop = asyncio.get_running_loop()
        add, remove = (
            (loop.add_writer, loop.remove_writer)
            if writing
            else (loop.add_reader, loop.remove_reader)
        )
        waiter: asyncio.Future[None] = loop.create_future()
        try:
            add(descriptor, _wake, waiter)
        except PermissionError:  # /dev/null and its like: always ready
            return
        try:
            await waiter
        finally:
            remove(descriptor)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
