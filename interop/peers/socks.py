"""A SOCKS client in a few lines that says exactly which reply it got (RFC 1928, section 6)."""

from __future__ import annotations

import ipaddress
import socket
import struct
import time

from interop.peers.roles import Address
from interop.peers.transfer import PATIENCE, read_exactly

GREETING = b"\x05\x01\x00"
"""Version 5, one method: no authentication."""

CONNECT, UDP_ASSOCIATE = 1, 3

GENERAL_FAILURE = 1
NOT_ALLOWED = 2
NETWORK_UNREACHABLE = 3
CONNECTION_REFUSED = 5
HOST_UNREACHABLE = 4
TTL_EXPIRED = 6
COMMAND_NOT_SUPPORTED = 7

_ADDRESS_BYTES = {1: 4, 4: 16}


class Refused(Exception):
    """The proxy answered, but not with success."""

    def __init__(self, reply: int) -> None:
        super().__init__(f"SOCKS reply {reply}")
        self.reply = reply


def request(target: Address, command: int = CONNECT) -> bytes:
    """The request that follows the greeting; a name stays a name."""
    try:
        address = ipaddress.ip_address(target.host)
        host = bytes([1 if address.version == 4 else 4]) + address.packed
    except ValueError:
        name = target.host.encode()
        host = bytes([3, len(name)]) + name
    return bytes([5, command, 0]) + host + struct.pack(">H", target.port)


def connect(
    proxy: Address,
    target: Address,
    *,
    command: int = CONNECT,
    pause: float | None = None,
    timeout: float = PATIENCE,
) -> socket.socket:
    """Reach `target` through the proxy; with `pause`, send each byte in a segment of its own."""
    stream = socket.create_connection(proxy, timeout=timeout)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        _send(stream, GREETING, pause)
        assert read_exactly(stream, 2) == b"\x05\x00"
        _send(stream, request(target, command), pause)
        read_reply(stream)
    except BaseException:
        stream.close()
        raise
    return stream


def read_reply(stream: socket.socket) -> Address | None:
    """Read the reply and return the bound address, if it is a number; raise `Refused`."""
    version, reply, _, kind = read_exactly(stream, 4)
    assert version == 5
    if reply:
        raise Refused(reply)
    size = _ADDRESS_BYTES.get(kind) or read_exactly(stream, 1)[0]
    host, port = read_exactly(stream, size), read_exactly(stream, 2)
    if kind not in _ADDRESS_BYTES:
        return None
    return Address(str(ipaddress.ip_address(host)), int.from_bytes(port, "big"))


def refusal(proxy: Address, target: Address, command: int = CONNECT) -> int:
    """Ask for something that must be refused, and return the reply."""
    try:
        stream = connect(proxy, target, command=command)
    except Refused as refused:
        return refused.reply
    stream.close()
    raise AssertionError("the proxy granted what it should refuse")


def _send(stream: socket.socket, data: bytes, pause: float | None) -> None:
    if pause is None:
        stream.sendall(data)
        return
    for number in data:
        stream.sendall(bytes([number]))
        time.sleep(pause)
