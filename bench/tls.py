"""`python -m bench.tls`: what the two ways to OpenSSL cost, without a tunnel around them.

One process is both ends of one connection on loopback, takes turns at sealing and opening, and
counts its own processor time. The ways take turns as well, so that a busy minute hits all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from wraith.streams.sealing import SEAL_AT_ONCE
from wraith.transports.certificates import keep_self_signed, server_context
from wraith.transports.tls_ciphers import prefer_aes_128

ROUND = 64 << 20
"""Bytes carried in one turn."""

WOULD_BLOCK = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)
RECORD = 16384


def contexts(certificate: Path, aes_128: bool) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    server, client = server_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(certificate)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    if aes_128:
        prefer_aes_128(client)
    return server, client


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


class Way(Protocol):
    """One way to get bytes from one end to the other."""

    def carry(self, data: memoryview, into: memoryview) -> None:
        """All of it."""
        ...


class ByBuffers:
    """OpenSSL between two buffers in memory, and sockets below."""

    def __init__(self, certificate: Path, aes_128: bool) -> None:
        server, client = contexts(certificate, aes_128)
        self.near, self.far = tcp_pair()
        near_in, self.near_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.far_in, far_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.sender = client.wrap_bio(near_in, self.near_out)
        self.receiver = server.wrap_bio(self.far_in, far_out, server_side=True)
        for _ in range(3):
            for end in (self.sender, self.receiver):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
            self.far_in.write(self.near_out.read())
            near_in.write(far_out.read())
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.scratch = memoryview(bytearray(SEAL_AT_ONCE))

    def carry(self, data: memoryview, into: memoryview) -> None:
        sealed = got = 0
        while sealed < len(data):
            sealed += self.sender.write(data[sealed:])
        waiting = memoryview(self.near_out.read())
        while got < len(data):
            with contextlib.suppress(*WOULD_BLOCK):
                waiting = waiting[self.near.send(waiting) :] if waiting else waiting
            with contextlib.suppress(*WOULD_BLOCK):
                self.far_in.write(self.scratch[: self.far.recv_into(self.scratch)])
            with contextlib.suppress(*WOULD_BLOCK):
                while got < len(data):
                    got += self.receiver.read(RECORD, into[got:])  # type: ignore[operator]


class BySocket:
    """OpenSSL on the sockets themselves, with the kernel told to collect records or not."""

    def __init__(self, certificate: Path, aes_128: bool, cork: bool) -> None:
        server, client = contexts(certificate, aes_128)
        near, far = tcp_pair()
        ends: list[ssl.SSLSocket] = []
        accepting = threading.Thread(
            target=lambda: ends.append(server.wrap_socket(far, server_side=True))
        )
        accepting.start()
        self.sender = client.wrap_socket(near)
        accepting.join()
        self.receiver = ends[0]
        self.sender.setblocking(False)
        self.receiver.setblocking(False)
        self.cork = cork

    def carry(self, data: memoryview, into: memoryview) -> None:
        sealed = got = 0
        while got < len(data):
            self._cork(1)
            with contextlib.suppress(*WOULD_BLOCK):
                while sealed < len(data):
                    sealed += self.sender.write(data[sealed:])
            self._cork(0)
            with contextlib.suppress(*WOULD_BLOCK):
                while got < len(data):
                    got += self.receiver.read(RECORD, into[got:])  # type: ignore[operator]

    def _cork(self, wanted: int) -> None:
        if self.cork:
            self.sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, wanted)


def ways(certificate: Path) -> Iterator[tuple[str, Way]]:
    """All of them; the first is what the others are compared with."""
    for aes_128, name in ((True, "AES-128"), (False, "AES-256")):
        yield f"two buffers, {name}", ByBuffers(certificate, aes_128)
        yield f"socket, {name}", BySocket(certificate, aes_128, cork=False)
        yield f"socket, corked, {name}", BySocket(certificate, aes_128, cork=True)


def main() -> None:
    """Print processor seconds per GB for each way, and the ratio to the first."""
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description=__doc__)
    parser.add_argument("--reps", type=int, default=21, metavar="N", help="turns of each way")
    reps = parser.parse_args().reps
    data = memoryview(bytes(range(256)) * (SEAL_AT_ONCE // 256))
    into = memoryview(bytearray(SEAL_AT_ONCE))
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder) / "certificate.pem"
        keep_self_signed(certificate)
        found = dict(ways(certificate))
    costs: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(reps):
        for name, way in found.items():
            before = time.process_time()
            for _ in range(ROUND // SEAL_AT_ONCE):
                way.carry(data, into)
            costs[name].append((time.process_time() - before) * 1e9 / ROUND)
            assert into == data
    first = costs[next(iter(costs))]
    print(f"processor seconds per GB, both ends; median of {reps}, and round by round the ratio")
    for name, seconds in costs.items():
        ratio = statistics.median(one / other for one, other in zip(seconds, first, strict=True))
        print(f"  {name:<26}{statistics.median(seconds):6.2f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
