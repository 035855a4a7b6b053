"""A UDP socket on the hub: several datagrams for each time that it is ready, and no queue.

What nobody takes waits in the kernel, which drops what is more than the socket's buffer holds. What
the kernel does not take is dropped here. So a flood costs neither memory nor, while the socket is
paused, any time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from wraith.streams.hub import READ, Hub, running_hub

MOST_AT_ONCE = 32
ENOUGH = 64 * 1024
"""Datagrams, and bytes, that are read before others get their turn."""

LARGEST = 0xFFFF
"""Bytes of a UDP datagram, as far as its length field can count (RFC 768)."""

SocketAddress = tuple[Any, ...]
Received = tuple[bytes, SocketAddress]

Receive = Callable[[list[Received]], None]
"""Called with what came, at least one datagram; must not raise."""


def is_possible() -> bool:
    """Whether the running loop can watch descriptors, which Windows' own loop cannot."""
    proactor = getattr(asyncio, "ProactorEventLoop", None)
    return proactor is None or not isinstance(asyncio.get_running_loop(), proactor)


class DatagramSocket:
    """A non-blocking UDP socket and whoever receives from it; owns the socket."""

    def __init__(self, sock: socket.socket, receive: Receive, hub: Hub | None = None) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._receive = receive
        self._hub = running_hub() if hub is None else hub
        self._reading = False
        self._closed = False
        self.resume()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "reading" if self._reading else "paused"
        return f"<DatagramSocket {state}>"

    @property
    def address(self) -> SocketAddress:
        """Where it is bound, as the system has it."""
        bound: SocketAddress = self._sock.getsockname()
        return bound

    def send(self, data: bytes, address: SocketAddress) -> None:
        """Send one datagram; it is dropped where the system has no room, or the socket is closed.

        Raises `OSError` where the system refuses it: no way there, or too large.
        """
        if self._closed:
            return
        try:
            self._sock.sendto(data, address)
        except (BlockingIOError, InterruptedError):
            return

    def pause(self) -> None:
        """Receive nothing for a while."""
        if self._reading:
            self._reading = False
            self._hub.remove(self._fd)

    def resume(self) -> None:
        """Receive again."""
        if not self._reading and not self._closed:
            self._hub.add(self._fd, self._ready, READ)
            self._reading = True

    def close(self) -> None:
        """Close it; may be called more than once."""
        if not self._closed:
            self.pause()
            self._closed = True
            self._sock.close()

    def _ready(self, _events: int) -> None:
        scratch = self._hub.scratch
        received: list[Received] = []
        size = 0
        while len(received) < MOST_AT_ONCE and size < ENOUGH:
            try:
                count, address = self._sock.recvfrom_into(scratch, LARGEST)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # what became of a datagram that was sent; there is nobody to tell
                break
            received.append((bytes(scratch[:count]), address))
            size += count
        if received:
            self._receive(received)
