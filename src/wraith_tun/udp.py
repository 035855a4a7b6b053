"""Datagrams by SOCKS5 UDP ASSOCIATE (RFC 1928, section 7).

One association for each socket of an application; and one for each name that it talks to, since
the answers come from addresses of which only the proxy knows that they belong to the name.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine

from wraith_tun import packets as ip
from wraith_tun.dns import Names
from wraith_tun.packets import Ends, Unreachable, Version
from wraith_tun.to_socks5 import NotTaken, Refused, Socks5, decode_address, encode_address

IDLE = 120.0
"""Seconds without a datagram after which an association ends (RFC 4787, 4.3)."""

MOST = 256
"""Associations at a time."""

QUEUE = 16
"""Datagrams that wait for an association."""

Datagram = tuple[bytes, Version, Ends]


class Association:
    """The datagrams of one socket, on their way to and from the proxy."""

    def __init__(self, fake: bytes) -> None:
        self.fake = fake
        self.used = asyncio.get_running_loop().time()
        self.waiting: list[Datagram] = []
        self.socket: socket.socket | None = None


class Associations:
    """All of them; packets come by `send`, and go by the `write` that is handed in."""

    def __init__(
        self,
        socks5: Socks5,
        names: Names,
        write: Callable[[bytes], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._socks5, self._names, self._write, self._spawn = socks5, names, write, spawn
        self._live: dict[tuple[bytes, bytes, bytes], Association] = {}

    def send(self, packet: bytes, version: Version, ends: Ends) -> None:
        """Pass on what an application sends; where that cannot be, tell it at once."""
        name = self._names.name(ends.destination)
        fake = ends.destination if name else b""
        key = ends.source, ends.source_port, fake
        association = self._live.get(key)
        if association is None:
            if name == "" or len(self._live) >= MOST:
                return self._write(ip.unreachable(packet, version, Unreachable.PORT))
            association = self._live[key] = Association(fake)
            self._spawn(self._run(key, association))
        if association.socket is not None:
            self._forward(association, (packet, version, ends))
        elif len(association.waiting) < QUEUE:
            association.waiting.append((packet, version, ends))
        return None

    def _forward(self, association: Association, datagram: Datagram) -> None:
        packet, version, ends = datagram
        association.used = asyncio.get_running_loop().time()
        host = self._names.name(ends.destination) or ends.destination
        where = encode_address(host, int.from_bytes(ends.destination_port, "big"))
        with contextlib.suppress(OSError):  # a datagram may be lost
            assert association.socket is not None
            association.socket.send(bytes(3) + where + ip.payload(packet, version))

    async def _run(self, key: tuple[bytes, bytes, bytes], association: Association) -> None:
        self._names.use(association.fake)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(10):
                control, (host, port) = await self._socks5.associate()
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with control, socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.connect((host, port))
                association.socket = sock
                for datagram in association.waiting:
                    self._forward(association, datagram)
                loop.add_reader(sock, self._receive, key, association, sock)
                try:
                    await self._until_over(association, control)
                finally:
                    loop.remove_reader(sock)
        except (OSError, EOFError, Refused, NotTaken):  # no UDP there: QUIC falls back to TCP
            for packet, version, _ in association.waiting:
                self._write(ip.unreachable(packet, version, Unreachable.PORT))
        finally:
            del self._live[key]
            self._names.release(association.fake)

    async def _until_over(self, association: Association, control: socket.socket) -> None:
        """The association ends with its connection, or when nobody uses it."""
        loop = asyncio.get_running_loop()
        while (end := association.used + IDLE) > loop.time():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    if not await loop.sock_recv(control, 64):
                        return

    def _receive(
        self, key: tuple[bytes, bytes, bytes], association: Association, sock: socket.socket
    ) -> None:
        for _ in range(32):
            try:
                data = sock.recv(65535)
                host, port, start = decode_address(data[3:])
            except (IndexError, ValueError, struct.error):
                continue
            except OSError:
                return
            source = association.fake or host
            if data[2] or len(source) != len(key[0]):
                continue
            association.used = asyncio.get_running_loop().time()
            ends = Ends(source, key[0], struct.pack(">H", port), key[1])
            self._write(ip.datagram(b"".join(ends), data[3 + start :]))
