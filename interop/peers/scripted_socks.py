"""A SOCKS5 server that refuses as a story tells it, and notes when (RFC 1928)."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable

from interop.peers.origins import Origin
from interop.peers.roles import Address
from interop.peers.transfer import read_exactly

GRANTED = b"\5\0\0\1" + bytes(6)


class ScriptedSocks(Origin):
    """It answers a CONNECT with the reply that `decide` gives for its destination.

    `replied` holds the moments before each reply went out, by `time.monotonic()`: that clock is the
    same in all namespaces.
    """

    def __init__(self, decide: Callable[[Address], int]) -> None:
        self._decide = decide
        self.replied: list[float] = []
        super().__init__()

    def serve(self, stream: socket.socket) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_exactly(stream, read_exactly(stream, 2)[1])
        stream.sendall(b"\5\0")
        reply = self._decide(_destination(stream))
        self.replied.append(time.monotonic())
        stream.sendall(bytes([5, reply]) + GRANTED[2:])
        assert stream.recv(1) == b""


def _destination(stream: socket.socket) -> Address:
    kind = read_exactly(stream, 4)[3]
    if kind == 3:
        host = read_exactly(stream, read_exactly(stream, 1)[0]).decode()
    else:
        host = str(ipaddress.ip_address(read_exactly(stream, {1: 4, 4: 16}[kind])))
    return Address(host, int.from_bytes(read_exactly(stream, 2), "big"))
