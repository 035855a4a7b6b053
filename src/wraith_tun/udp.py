"""Datagrams by SOCKS5 UDP ASSOCIATE (RFC 1928, section 7).

One association for each socket of an application; and one for each name that it talks to, since
the answers come from addresses of which only the proxy knows that they belong to the name.
"""

import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from wraith_tun import packets as ip
from wraith_tun.dns import Names
from wraith_tun.loop import IN, Loop, Work
from wraith_tun.packets import Ends, Unreachable, Version
from wraith_tun.socks5 import NotTaken, Refused, Socks5, decode_address, encode_address

IDLE = 120.0
"""Seconds without a datagram after which an association ends (RFC 4787, 4.3)."""

MOST = 256
"""Associations at a time."""

QUEUE = 16
"""Datagrams that wait for an association."""

Datagram = tuple[bytes, Version, Ends]


@dataclass
class Association:
    """The datagrams of one socket, on their way to and from the proxy."""

    fake: bytes
    used: float
    waiting: list[Datagram]
    sock: socket.socket | None = None


class Associations:
    """All of them; packets come by `send`, and go by the `write` that is handed in."""

    def __init__(
        self, loop: Loop, socks5: Socks5, names: Names, write: Callable[[bytes], None]
    ) -> None:
        self._loop, self._socks5, self._names, self._write = loop, socks5, names, write
        self._live: dict[tuple[bytes, bytes, bytes], Association] = {}

    def send(self, packet: bytes, version: Version, ends: Ends) -> None:
        """Pass on what an application sends; where that cannot be, tell it at once."""
        name = self._names.name(ends.destination)
        fake = ends.destination if name else b""
        key = ends.source, ends.source_port, fake
        association = self._live.get(key)
        datagram = packet, version, ends
        if association is not None:
            self._forward(association, datagram)
        elif name != "" and len(self._live) < MOST:
            association = self._live[key] = Association(fake, self._loop.now, [datagram])
            self._loop.start(self._run(key, association))
        else:
            self._write(ip.unreachable(packet, version, Unreachable.PORT))

    def _forward(self, association: Association, datagram: Datagram) -> None:
        packet, version, ends = datagram
        association.used = self._loop.now
        if association.sock is None:
            association.waiting = [*association.waiting, datagram][:QUEUE]
            return
        host = self._names.name(ends.destination) or ends.destination
        where = encode_address(host, int.from_bytes(ends.destination_port, "big"))
        with contextlib.suppress(OSError):  # a datagram may be lost
            association.sock.send(bytes(3) + where + ip.payload(packet, version))

    def _run(self, key: tuple[bytes, bytes, bytes], association: Association) -> Work[None]:
        self._names.use(association.fake)
        loop, control = self._loop, None
        try:
            loop.allow(10)
            control, sock = yield from self._socks5.associate(loop)
            association.sock = sock
            for datagram in association.waiting:
                self._forward(association, datagram)
            loop.watch(sock.fileno(), IN, partial(self._receive, key, association, sock))
            loop.wait(control)
            while (end := association.used + IDLE) > loop.now:  # or the connection's own end
                with contextlib.suppress(TimeoutError, BlockingIOError):
                    loop.allow(end - loop.now)
                    yield
                    if not control.recv(64):
                        return
        except (OSError, EOFError, Refused, NotTaken):  # no UDP there: QUIC falls back to TCP
            for packet, version, _ in association.waiting:
                self._write(ip.unreachable(packet, version, Unreachable.PORT))
        finally:
            loop.close(control, association.sock)
            del self._live[key]
            self._names.release(association.fake)

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
            association.used = self._loop.now
            ends = Ends(source, key[0], struct.pack(">H", port), key[1])
            self._write(ip.datagram(b"".join(ends), data[3 + start :]))
