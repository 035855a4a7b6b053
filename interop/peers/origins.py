"""Destinations: what listens at the far end of a tunnel, in threads of the test process."""

from __future__ import annotations

import hashlib
import queue
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from interop.peers.roles import ANY_PORT, Address, Place
from interop.peers.transfer import hash_exactly, read_exactly, send_blocks


class Origin:
    """A listener that runs `serve` for each connection; `ends` tells how each one ended.

    An end is `eof` when the other side finished its writing, and `reset` when the connection broke.
    """

    def __init__(self, place: Place = ANY_PORT) -> None:
        self._listener, self.place = _listen(place)
        self.ends: queue.Queue[str] = queue.Queue()
        self.accepted = 0
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for stream in (self._listener, *self._open):
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        if isinstance(self.place, Path):
            self.place.unlink()

    @property
    def address(self) -> Address:
        """Where it listens, for stories about TCP."""
        assert isinstance(self.place, Address)
        return self.place

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def serve(self, stream: socket.socket) -> None:
        """Serve one connection until the other side has ended its writing."""
        raise NotImplementedError

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.add(stream)
            thread = threading.Thread(target=self._attend, args=[stream])
            self._threads.append(thread)
            thread.start()

    def _attend(self, stream: socket.socket) -> None:
        with stream:
            try:
                self.serve(stream)
                self.ends.put("eof")
            except (ConnectionError, EOFError, struct.error):
                self.ends.put("reset")
            finally:
                self._open.discard(stream)


class Echo(Origin):
    """Sends back what it gets."""

    def serve(self, stream: socket.socket) -> None:
        while piece := stream.recv(1 << 16):
            stream.sendall(piece)


class Digest(Origin):
    """The far side of `transfer.exchange`: reads to the end, then answers and streams."""

    def serve(self, stream: socket.socket) -> None:
        (wanted,) = struct.unpack(">Q", read_exactly(stream, 8))
        digest = hashlib.sha256()
        while piece := stream.recv(1 << 18):
            digest.update(piece)
        stream.sendall(digest.digest())
        stream.sendall(send_blocks(stream, wanted))


class Farewell(Origin):
    """Ends its own writing first, after 32 bytes, and goes on listening to the client."""

    GOODBYE = b"that is all from me; I listen on"

    def __init__(self, place: Place = ANY_PORT) -> None:
        self.heard: queue.Queue[bytes] = queue.Queue()
        super().__init__(place)

    def serve(self, stream: socket.socket) -> None:
        stream.sendall(self.GOODBYE)
        stream.shutdown(socket.SHUT_WR)
        (coming,) = struct.unpack(">Q", read_exactly(stream, 8))
        self.heard.put(hash_exactly(stream, coming))
        assert stream.recv(1) == b""


class Fountain(Origin):
    """A download without end: a kilobyte every few milliseconds until the client goes away."""

    def serve(self, stream: socket.socket) -> None:
        stream.settimeout(0.005)
        while True:
            stream.sendall(bytes(1024))
            with suppress(TimeoutError):
                if not stream.recv(1024):
                    return


class BlackHole:
    """An address where connections neither succeed nor fail: its backlog is full for good."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.address = Address(*self._listener.getsockname())
        self._fill = [socket.socket() for _ in range(4)]
        for filler in self._fill:
            filler.setblocking(False)
            filler.connect_ex(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for stream in (*self._fill, self._listener):
            stream.close()


def _listen(place: Place) -> tuple[socket.socket, Place]:
    if isinstance(place, Path):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(place))
        listener.listen()
        return listener, place
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listener = socket.create_server(place, family=family, backlog=256)
    return listener, Address(*listener.getsockname()[:2])
