"""Asking a SOCKS5 server for a connection or an association (RFC 1928, RFC 1929)."""

import socket
import struct
from dataclasses import dataclass, field
from ipaddress import ip_address

from wraith_tun.errors import CannotStart
from wraith_tun.loop import IN, OUT, Loop, Work

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
    """A SOCKS5 server: where it is, and the credentials as `user:password`, or none.

    Its methods are works: they raise `Refused`, `NotTaken`, `EOFError`, and `OSError`.
    """

    host: str
    port: int
    credentials: str | None = field(default=None, repr=False)

    def connect(self, loop: Loop, host: str | bytes, port: int) -> Work[socket.socket]:
        """A connection to a destination; nobody waits for it yet."""
        return (yield from self._ask(loop, CONNECT, encode_address(host, port)))[0]

    def associate(self, loop: Loop) -> Work[tuple[socket.socket, socket.socket]]:
        """The connection that keeps an association, and a socket for its datagrams (section 7)."""
        where = encode_address(bytes(4), 0)
        control, host, port = yield from self._ask(loop, UDP_ASSOCIATE, where)
        if host in (bytes(4), bytes(16)):  # wherever we have reached the server itself
            host = ip_address(control.getpeername()[0]).packed
        try:
            family = {4: socket.AF_INET, 16: socket.AF_INET6}[len(host)]
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sock.connect((socket.inet_ntop(family, host), port))
        except (OSError, KeyError):
            control.close()
            raise NotTaken("it names no address for datagrams") from None
        return control, sock

    def _ask(
        self, loop: Loop, command: int, where: bytes
    ) -> Work[tuple[socket.socket, bytes, int]]:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect_ex((self.host, self.port))  # what goes wrong is told by the next call
            yield from self._greet(loop, sock)
            yield from send(loop, sock, bytes([5, command, 0]) + where)
            answer = yield from read(loop, sock, 5)
            if answer[1]:
                raise Refused(answer[1])
            answer += yield from read(loop, sock, {1: 5, 4: 17}.get(answer[3], answer[4] + 2))
            host, port, _ = decode_address(answer[3:])
            loop.wait(sock, 0)
        except BaseException:
            loop.close(sock)
            raise
        return sock, host, port

    def _greet(self, loop: Loop, sock: socket.socket) -> Work[None]:
        yield from send(loop, sock, b"\5\2\0\2" if self.credentials else b"\5\1\0")
        method = yield from read(loop, sock, 2)
        if method == b"\5\2" and self.credentials:
            user, _, word = self.credentials.encode().partition(b":")
            yield from send(loop, sock, bytes([1, len(user)]) + user + bytes([len(word)]) + word)
            if (yield from read(loop, sock, 2))[1]:
                raise NotTaken("it does not take our credentials; give others with --socks5-auth")
        elif method != b"\5\0":
            wants = "it wants credentials; give them with --socks5-auth"
            other = "it speaks no SOCKS5; name another with --socks5"
            raise NotTaken(wants if method[:1] == b"\5" else other)

    def look_for(self) -> None:
        """Raise `CannotStart` when nobody answers there whom we could use."""
        at = f"{self.host} port {self.port}"
        try:
            with socket.create_connection((self.host, self.port), 10) as sock:
                for _ in self._greet(Loop(), sock):
                    raise AssertionError("this socket blocks, so that nothing is waited for")
        except NotTaken as error:
            raise CannotStart(f"the server at {at} cannot be used: {error}") from error
        except (OSError, EOFError) as error:
            remedy = "start `wraith connect`, or name another with --socks5"
            raise CannotStart(f"no SOCKS5 server answers at {at}; {remedy}") from error


def send(loop: Loop, sock: socket.socket, data: bytes) -> Work[None]:
    """Send all of it, also on a connection that is still being made."""
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            loop.wait(sock, OUT)
            yield


def read(loop: Loop, sock: socket.socket, size: int) -> Work[bytes]:
    """Exactly `size` bytes. Raises `EOFError` when the other side ends before."""
    data = b""
    while len(data) < size:
        try:
            more = sock.recv(size - len(data))
        except BlockingIOError:
            loop.wait(sock, IN)
            yield
            continue
        if not more:
            raise EOFError("the other side has closed the connection")
        data += more
    return data
