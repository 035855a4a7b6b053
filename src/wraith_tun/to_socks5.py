"""Asking a SOCKS5 server for a connection or an association (RFC 1928, RFC 1929)."""

import asyncio
import socket
import struct
from dataclasses import dataclass, field

CONNECT, UDP_ASSOCIATE = 1, 3


class Refused(Exception):
    """The server's answer is not "succeeded"."""

    def __init__(self, reply: int) -> None:
        super().__init__(f"SOCKS5 reply {reply}")
        self.reply = reply


class NotTaken(Exception):
    """Whoever listens there is no SOCKS5 server for us: says why."""


def encode_address(host: str | bytes, port: int) -> bytes:
    """A destination (section 5): a name, or an address as its 4 or 16 bytes."""
    if isinstance(host, str):
        name = host.encode()
        return struct.pack(">BB", 3, len(name)) + name + struct.pack(">H", port)
    return bytes([1 if len(host) == 4 else 4]) + host + struct.pack(">H", port)


def decode_address(data: bytes) -> tuple[bytes, int, int]:
    """A host's bytes, its port, and where the rest of `data` begins. Raises `IndexError`, or
    `struct.error`, when it is cut short, and `ValueError` for a type that nobody knows."""
    start = 2 if data[0] == 3 else 1
    size = {1: 4, 3: data[1], 4: 16}.get(data[0])
    if size is None:
        raise ValueError("no such type of address")
    (port,) = struct.unpack_from(">H", data, start + size)
    return data[start : start + size], port, start + size + 2


@dataclass(frozen=True)
class Socks5:
    """A SOCKS5 server: where it is, and the credentials as `user:password`, or none."""

    host: str
    port: int
    credentials: str | None = field(default=None, repr=False)

    async def connect(self, host: str | bytes, port: int) -> socket.socket:
        """A connection to a destination. Raises `Refused`, `NotTaken`, `OSError`, `EOFError`."""
        return (await self._ask(CONNECT, encode_address(host, port)))[0]

    async def associate(self) -> tuple[socket.socket, tuple[str, int]]:
        """The connection that keeps an association, and where its datagrams go (section 7)."""
        control, host, port = await self._ask(UDP_ASSOCIATE, encode_address(bytes(4), 0))
        if host in (bytes(4), bytes(16)):  # wherever we have reached the server itself
            return control, (control.getpeername()[0], port)
        try:
            return control, (str(socket.inet_ntop(_family(host), host)), port)
        except ValueError:
            control.close()
            raise NotTaken("it names no address for datagrams") from None

    async def _ask(self, command: int, where: bytes) -> tuple[socket.socket, bytes, int]:
        sock = await self.greet()
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, bytes([5, command, 0]) + where)
            answer = await read(sock, 5)
            if answer[1]:
                raise Refused(answer[1])
            rest = {1: 5, 4: 17}.get(answer[3], answer[4] + 2)
            host, port, _ = decode_address(answer[3:] + await read(sock, rest))
        except BaseException:
            sock.close()
            raise
        return sock, host, port

    async def greet(self) -> socket.socket:
        """A connection to the server that is ready for a request. Raises as `connect` does."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, (self.host, self.port))
            await loop.sock_sendall(sock, b"\5\2\0\2" if self.credentials else b"\5\1\0")
            method = await read(sock, 2)
            if method == b"\5\2" and self.credentials:
                user, _, password = self.credentials.encode().partition(b":")
                message = bytes([1, len(user)]) + user + bytes([len(password)]) + password
                await loop.sock_sendall(sock, message)
                if (await read(sock, 2))[1]:
                    raise NotTaken("it does not take our credentials")
            elif method != b"\5\0":
                wants = "credentials" if method[:1] == b"\5" else "no SOCKS5"
                raise NotTaken(f"it wants {wants}")
        except BaseException:
            sock.close()
            raise
        return sock


def _family(host: bytes) -> socket.AddressFamily:
    return socket.AF_INET if len(host) == 4 else socket.AF_INET6


async def read(sock: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes. Raises `EOFError` when the other side ends before."""
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        more = await loop.sock_recv(sock, size - len(data))
        if not more:
            raise EOFError("the other side has closed the connection")
        data += more
    return data
