"""How an accepted socket goes from the parent to a worker: over a Unix socket (SCM_RIGHTS).

With it goes a note, a small JSON object that says where it came in and for whom it speaks. Messages
keep their bounds, so that a note and its socket cannot part.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from wraith.streams.hub import READ, WRITE, running_hub
from wraith.streams.socket_stream import SocketStream

MAX_NOTE = 1024
AT_ONCE = 64
"""Sockets taken in one go, so that a flood of them leaves the others their turn."""

_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else getattr(socket, "SOCK_DGRAM", 0)

Take = Callable[[socket.socket, Mapping[str, Any]], None]


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """A channel for sockets: the end to give from, and the end to take at."""
    near, far = socket.socketpair(socket.AF_UNIX, _KIND)
    near.setblocking(False)
    return near, far


class Giving:
    """The parent's end. What the worker has not taken yet waits, in order.

    `failed` is told of each note whose socket cannot be given any more.
    """

    def __init__(self, channel: socket.socket, failed: Callable[[Mapping[str, Any]], None]) -> None:
        self._channel = channel
        self._failed = failed
        self._waiting: deque[tuple[socket.socket, Mapping[str, Any]]] = deque()
        self._hub = running_hub()

    def __repr__(self) -> str:
        return f"<Giving waiting={len(self._waiting)}>"

    def give(self, sock: socket.socket, note: Mapping[str, Any]) -> None:
        """Give a socket away; ours is closed once it is sent."""
        self._waiting.append((sock, note))
        if len(self._waiting) == 1 and not self._send_first():
            self._hub.add(self._channel.fileno(), self._go_on, WRITE)

    def _go_on(self, _events: int) -> None:
        while self._waiting:
            if not self._send_first():
                return
        self._hub.remove(self._channel.fileno())

    def _send_first(self) -> bool:
        """Whether what has waited longest is settled."""
        sock, note = self._waiting[0]
        try:
            socket.send_fds(self._channel, [json.dumps(note).encode()], [sock.fileno()])
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:  # the worker is gone, or the system has no room for it
            self._failed(note)
        self._waiting.popleft()
        sock.close()
        return True

    def close(self) -> None:
        """Give no more; what waits is closed."""
        self._hub.remove(self._channel.fileno())
        self._channel.close()
        for sock, note in self._waiting:
            sock.close()
            self._failed(note)
        self._waiting.clear()


class Taking:
    """The worker's end. `lost` is told of a note whose socket the system had no room for."""

    def __init__(
        self, channel: socket.socket, take: Take, lost: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._channel = channel
        self._take = take
        self._lost = lost
        self._hub = running_hub()
        channel.setblocking(False)
        self._hub.add(channel.fileno(), self._ready, READ)

    def __repr__(self) -> str:
        return f"<Taking {'closed' if self._channel.fileno() < 0 else 'open'}>"

    def _ready(self, _events: int) -> None:
        for _ in range(AT_ONCE):
            if not self._take_one():
                return

    def _take_one(self) -> bool:
        try:
            data, numbers, _flags, _address = socket.recv_fds(self._channel, MAX_NOTE, 1)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:  # the parent is gone, which the link says
            self.close()
            return False
        if not data:
            self.close()
            return False
        if not numbers:
            self._lost(json.loads(data))
        for number in numbers:
            sock = socket.socket(fileno=number)
            sock.set_inheritable(False)
            sock.setblocking(False)
            self._begin(sock, data)
        return True

    def _begin(self, sock: socket.socket, data: bytes) -> None:
        try:
            self._take(sock, json.loads(data))
        except OSError:
            sock.close()  # gone while it was greeted
        except Exception as error:  # the end of this connection, and of no other
            sock.close()
            context = {"message": "a connection could not be greeted", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def close(self) -> None:
        """Take no more."""
        if self._channel.fileno() >= 0:
            self._hub.remove(self._channel.fileno())
            self._channel.close()


class Handing(asyncio.Protocol):
    """Stands on an accepted stream for the moment that it takes to give its socket away.

    `hand` is called with the socket and the address and port that it speaks for.
    """

    def __init__(self, hand: Callable[[socket.socket, tuple[str, int]], None]) -> None:
        self._hand = hand

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket out of the stream."""
        assert isinstance(transport, SocketStream), "sockets are shared on loops with a hub only"
        peername = transport.get_extra_info("peername")
        sock = transport.detach()
        assert sock is not None, "nothing has been written yet"
        if peername is None:  # gone between the kernel's accept and ours
            sock.close()
            return
        with contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            self._hand(sock, (peername[0], peername[1]))
            stack.pop_all()
