"""SOCKS5 UDP ASSOCIATE in a few lines, and a forwarder for programs that know no SOCKS."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType
from typing import Self

from interop.peers import socks
from interop.peers.roles import Address
from interop.peers.transfer import PATIENCE


class Association:
    """One association; a context manager. A datagram is `(partner, payload)`."""

    def __init__(self, proxy: Address, *, timeout: float = PATIENCE) -> None:
        self.control = socket.create_connection(proxy, timeout=timeout)
        self.control.sendall(socks.GREETING + socks.request(Address("0.0.0.0", 0), 3))
        assert self.control.recv(2, socket.MSG_WAITALL) == b"\5\0"
        relay = socks.read_reply(self.control)
        assert relay is not None
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(timeout)
        self.socket.connect(relay)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()
        self.control.close()

    def send(self, partner: Address, payload: bytes) -> None:
        self.socket.send(bytes(3) + socks.request(partner)[3:] + payload)

    def receive(self) -> bytes:
        """The next payload, whoever sent it."""
        datagram = self.socket.recv(65535)
        assert datagram[:3] == bytes(3)
        size = {1: 4, 4: 16}.get(datagram[3]) or 1 + datagram[4]
        return datagram[4 + size + 2 :]

    def ask(self, partner: Address, payload: bytes) -> bytes:
        self.send(partner, payload)
        return self.receive()

    def is_silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(65535)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False


class Forwarder:
    """A local UDP port that leads to one partner; a context manager that gives its address."""

    def __init__(self, proxy: Address, partner: Address) -> None:
        self._association = Association(proxy)
        self._partner = partner
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._forward, daemon=True)

    def __enter__(self) -> Address:
        self._thread.start()
        return Address(*self._near.getsockname())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(5)
        self._near.close()
        self._association.__exit__(None, None, None)

    def _forward(self) -> None:
        program: tuple[str, int] | None = None
        near, far = self._near, self._association
        while not self._ended.is_set():
            for ready in select.select([near, far.socket], [], [], 0.1)[0]:
                if ready is near:
                    query, program = near.recvfrom(65535)
                    far.send(self._partner, query)
                elif program is not None:
                    near.sendto(far.receive(), program)
