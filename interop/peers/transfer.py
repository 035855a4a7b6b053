"""What a program does through a tunnel: an echo, an ending each way, hashed megabytes.

`exchange` and `origins.Digest` agree on one small protocol, in which the client ends first:

    client   8 bytes: how much it wants back; its own bytes; end of writing
    server   SHA-256 of the client's bytes; as many bytes as wanted; their SHA-256; end
"""

from __future__ import annotations

import functools
import hashlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from interop.peers.roles import Place

MEGABYTE = 1 << 20
PATIENCE = 20.0
"""Seconds without a single byte after which a stream counts as stuck."""


def open_stream(place: Place, timeout: float = PATIENCE) -> socket.socket:
    """Connect to a TCP or Unix address."""
    if not isinstance(place, Path):
        return socket.create_connection(place, timeout=timeout)
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(timeout)
    try:
        stream.connect(str(place))
    except BaseException:
        stream.close()
        raise
    return stream


def echo(stream: socket.socket, text: bytes = b"hello, far side") -> None:
    """Send a few bytes and expect them back; the stream stays open."""
    stream.sendall(text)
    assert read_exactly(stream, len(text)) == text


def read_exactly(stream: socket.socket, count: int) -> bytes:
    """Read so many bytes; `EOFError` when the stream ends before."""
    pieces, left = [], count
    while left:
        piece = stream.recv(min(left, 1 << 18))
        if not piece:
            raise EOFError(f"the stream ended {left} bytes early")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def read_to_end(stream: socket.socket) -> bytes:
    """Read until the other side ends its writing."""
    return b"".join(iter(lambda: stream.recv(1 << 18), b""))


def blocks(total: int) -> Iterator[bytes]:
    """Yield `total` bytes in which no two megabytes look alike, so that order matters."""
    base, sent = _noise(), 0
    for number in range(1 + total // MEGABYTE):
        cut = number * 4099 % MEGABYTE
        yield (block := (base[cut:] + base[:cut])[: total - sent])
        sent += len(block)


def send_blocks(stream: socket.socket, total: int) -> bytes:
    """Send `total` bytes and return their SHA-256."""
    digest = hashlib.sha256()
    for block in blocks(total):
        digest.update(block)
        stream.sendall(block)
    return digest.digest()


def hash_exactly(stream: socket.socket, total: int) -> bytes:
    """Read `total` bytes and return their SHA-256."""
    digest = hashlib.sha256()
    while total:
        piece = stream.recv(min(total, 1 << 18))
        if not piece:
            raise EOFError(f"the stream ended {total} bytes early")
        digest.update(piece)
        total -= len(piece)
    return digest.digest()


def exchange(stream: socket.socket, *, up: int, down: int) -> None:
    """Send `up` bytes, end our writing, and only then expect `down` bytes, all intact."""
    stream.sendall(struct.pack(">Q", down))
    sent = send_blocks(stream, up)
    stream.shutdown(socket.SHUT_WR)
    assert read_exactly(stream, 32) == sent, "the upload arrived damaged"
    received = hash_exactly(stream, down)
    assert read_exactly(stream, 32) == received, "the download arrived damaged"
    assert stream.recv(1) == b"", "bytes after the end"


def echo_flood(stream: socket.socket, total: int) -> None:
    """Send and receive at the same time, as fast as an echo allows."""
    sent: list[bytes] = []
    sender = threading.Thread(target=lambda: sent.append(send_blocks(stream, total)))
    sender.start()
    received = hash_exactly(stream, total)
    sender.join()
    assert sent == [received], "the echo came back damaged"


@functools.cache
def _noise() -> bytes:
    return random.Random(7).randbytes(MEGABYTE)
