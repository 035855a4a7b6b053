"""One connection under full control: TLS by hand over a plain socket, every ending told apart."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import struct
import time
import warnings
from dataclasses import dataclass, field

_DATE = re.compile(rb"Date: [^\r\n]{29}\r\n")


@dataclass(frozen=True)
class Tls:
    """How a probe shakes hands."""

    name: str | None = "example.com"
    protocols: tuple[str, ...] = ()
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str = ""

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old versions are the point
            context.set_ciphers(self.ciphers or "ALL:@SECLEVEL=0")
            context.minimum_version, context.maximum_version = self.least, self.most
        if self.protocols:
            context.set_alpn_protocols(list(self.protocols))
        context.options &= ~0x80  # SSL_OP_IGNORE_UNEXPECTED_EOF: a bare FIN is to be seen
        return context


MODERN = Tls()


@dataclass
class Seen:
    """What is seen of the other side, without what is different every time."""

    said: list[bytes] = field(default_factory=list)
    """What came, one item for each step of the probe."""

    handshake: tuple[object, ...] = ()
    ending: str = "open"
    lasted: float = 0.0
    """Seconds until the end, if it came while the probe was watching."""

    def differs(self, other: Seen) -> str:
        """What is different, in a few words; empty if nothing is."""
        if self.handshake != other.handshake:
            return f"handshake {self.handshake} / {other.handshake}"
        if self.normal() != other.normal():
            return f"bytes {self.normal()} / {other.normal()}"
        if self.ending != other.ending:
            return f"ending {self.ending} / {other.ending}"
        if abs(self.lasted - other.lasted) > 1.7:
            return f"ended after {self.lasted:.1f} s / {other.lasted:.1f} s"
        return ""

    def normal(self) -> list[bytes]:
        return [_DATE.sub(b"Date: now\r\n", without_randomness(said)) for said in self.said]


def without_randomness(said: bytes) -> bytes:
    """A server's first flight in TLS 1.2 with its random numbers, keys and signatures blanked."""
    blanked = b""
    while said[:1] == b"\x16" and len(said) >= 5:
        end = 5 + int.from_bytes(said[3:5], "big")
        kind, record = said[5:6], said[:end]
        if kind == b"\2":  # ServerHello: version, random, session id
            session = 44 + record[43] if len(record) > 43 else len(record)
            record = (
                record[:11] + bytes(32) + record[43:44] + bytes(session - 44) + record[session:]
            )
        elif kind == b"\x0c":  # ServerKeyExchange
            record = record[:9] + bytes(len(record) - 9)
        blanked += record
        said = said[end:]
    return blanked + said


class Wire:
    """A connection to one side; what it sees goes into `seen`."""

    def __init__(self, port: int, tls: Tls | None, earlier: Wire | None = None) -> None:
        self.seen = Seen()
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.tls: ssl.SSLObject | None = None
        self.notified = False
        self.over = False
        self.records: list[tuple[int, int]] = []
        self._raw = b""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._began = time.monotonic()
        self._how = "open"
        self.cork, self._corked = False, b""
        if tls is not None:
            self.context: ssl.SSLContext = tls.context() if earlier is None else earlier.context
            session = earlier.tls.session if earlier and earlier.tls else None
            self._shake_hands(tls, session)

    def close(self) -> None:
        self.sock.close()

    def uncork(self) -> None:
        """Send in one piece what was said since `cork` was set."""
        self.cork, corked, self._corked = False, self._corked, b""
        self.send_raw(corked)

    # TLS

    def _shake_hands(self, tls: Tls, session: ssl.SSLSession | None) -> None:
        self.tls = self.context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=tls.name, session=session
        )
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_pending()
                if not self._receive(until - time.monotonic()):
                    break
                continue
            except ssl.SSLError as error:
                self._send_pending()
                self.seen.handshake = ("refused", error.reason)
                self.tls = None
                return
            self._send_pending()
            self.seen.handshake = (
                self.tls.version(),
                self.tls.cipher(),
                self.tls.selected_alpn_protocol(),
                self.tls.session_reused,
            )
            return
        self.seen.handshake = ("cut off", self._how)
        self.tls = None

    def _send_pending(self) -> None:
        self.send_raw(self._outgoing.read())

    # Sending

    def send_raw(self, data: bytes) -> None:
        """Send bytes past TLS; a peer that is gone is no trouble here."""
        if self.cork:
            self._corked += data
            return
        until = time.monotonic() + 5
        while data and time.monotonic() < until:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                select.select([], [self.sock], [], 0.1)
                self.listen(0)  # one that does not read us may wait to be read
            except OSError:
                return

    def send(self, data: bytes) -> None:
        """Send bytes, inside TLS if there is TLS, each call in a record of its own."""
        if self.tls is None:
            self.send_raw(data)
            return
        for start in range(0, len(data), 16384):
            self.tls.write(data[start : start + 16384])
            self._send_pending()

    def notify(self) -> None:
        """Send close_notify."""
        if self.tls is not None:
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
            self._send_pending()

    def end(self) -> None:
        """Send a FIN."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.over = True

    # Watching

    def listen(self, seconds: float) -> bytes:
        """What comes within some seconds, or until the end; stops early at nothing."""
        until = time.monotonic() + seconds
        said = b""
        while not self.over:
            said += self._decrypt()
            if not self._receive(until - time.monotonic()):
                break
        return said + self._decrypt()

    def _receive(self, seconds: float) -> bool:
        if self.over or not select.select([self.sock], [], [], max(0, seconds))[0]:
            return False
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            self._ended("reset")
            return False
        if not data:
            self._ended("fin")
            return False
        self._raw += data
        self._incoming.write(data)
        self._cut_records()
        return True

    def _ended(self, how: str) -> None:
        self.over, self._how = True, how
        self.seen.lasted = time.monotonic() - self._began

    def finish(self) -> Seen:
        """What was seen in all, once nobody listens any more."""
        self.seen.said.append(self._decrypt())
        self.seen.ending = ("close_notify, " if self.notified else "") + self._how
        return self.seen

    def _cut_records(self) -> None:
        while len(self._raw) >= 5:
            kind, length = self._raw[0], int.from_bytes(self._raw[3:5], "big")
            if len(self._raw) < 5 + length:
                return
            self.records.append((kind, length))
            self._raw = self._raw[5 + length :]

    def _decrypt(self) -> bytes:
        said = b""
        if self.tls is None:
            return self._incoming.read()
        while True:
            try:
                piece = self.tls.read(65536)
            except ssl.SSLWantReadError:
                return said
            except ssl.SSLError as error:
                if error.errno == ssl.SSL_ERROR_ZERO_RETURN:
                    self.notified = True
                elif error.errno != ssl.SSL_ERROR_EOF:
                    said += f"<alert {error.reason}>".encode()
                return said
            if not piece:
                self.notified = True
                return said
            said += piece


def reachable(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
