"""Behind load balancers: the PROXY header of a connection, read before anything else is.

    headers = ProxyHeaders(trusted)
    listen(address, lambda: headers.first(Greeter("tcp", accept)))

A connection from a trusted address must begin with a header (`protocol.proxy_protocol`); then it
counts as its origin's, for limits, logs and the `from=` of keys. The header is looked at in the
kernel's buffer and only then taken out, so that not a byte behind it is read: whatever follows, TLS
included, finds its socket as if it had come directly.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from wraith.policy.trusted_proxies import TrustedProxies
from wraith.protocol.machine import Cursor, Incomplete
from wraith.protocol.proxy_protocol import MAX_V2, SIGNATURE, ProxyHeaderError, decode_header
from wraith.streams.hub import READ, Hub, running_hub
from wraith.streams.log_line import log_event
from wraith.streams.socket_stream import SocketStream
from wraith.values.address import HostPort

_log = logging.getLogger("wraith.server")

TIMEOUT = 5.0
"""Seconds for a header; load balancers send it at once."""

LOOK_AGAIN = 0.02
"""Seconds until the rest of a header is looked for: what is there already would wake us again."""

MOST = len(SIGNATURE) + 4 + MAX_V2


class ProxyHeaders:
    """The connections of one listener that have yet to say for whom they come."""

    def __init__(self, trusted: TrustedProxies) -> None:
        self.trusted = trusted
        self._waiting: set[_Waiting] = set()

    def __repr__(self) -> str:
        return f"<ProxyHeaders waiting={len(self._waiting)}>"

    def first(self, inner: asyncio.Protocol) -> asyncio.Protocol:
        """The protocol for a new connection; `inner` gets it once it is known whose it is."""
        return _First(self, inner) if self.trusted.networks else inner

    def close(self) -> None:
        """Give up those that wait."""
        for waiting in list(self._waiting):
            waiting.close()

    def wait(self, sock: socket.socket, address: str, inner: asyncio.Protocol) -> None:
        """Look for the header on a socket, which is ours from now on."""
        self._waiting.add(_Waiting(self, sock, address, inner))

    def done(self, waiting: _Waiting) -> None:
        """One less."""
        self._waiting.discard(waiting)


class _First(asyncio.Protocol):
    """Sees who connects, and whether that one is trusted."""

    def __init__(self, headers: ProxyHeaders, inner: asyncio.Protocol) -> None:
        self._headers = headers
        self._inner = inner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        peername = transport.get_extra_info("peername")
        address = plain_address(peername[0]) if peername is not None else ""
        if not self._headers.trusted.include(address):
            transport.set_protocol(self._inner)
            self._inner.connection_made(transport)
            return
        sock = transport.detach() if isinstance(transport, SocketStream) else None
        if sock is None:  # a loop that cannot watch descriptors (Windows)
            _refuse(address, "proxy-header-unsupported")
            transport.abort()
            return
        self._headers.wait(sock, address, self._inner)


class _Waiting:
    """A socket whose header has not come yet."""

    def __init__(
        self, headers: ProxyHeaders, sock: socket.socket, address: str, inner: asyncio.Protocol
    ) -> None:
        self._headers = headers
        self._sock = sock
        self._address = address
        self._inner = inner
        self._hub: Hub = running_hub()
        self._loop = asyncio.get_running_loop()
        self._patience = self._loop.call_later(TIMEOUT, self._refuse, "proxy-header-missing")
        self._again: asyncio.TimerHandle | None = None
        self._watch()

    def _watch(self) -> None:
        self._again = None
        self._hub.add(self._sock.fileno(), self._look, READ)

    def _look(self, _events: int) -> None:
        try:
            data = self._sock.recv(MOST, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        cursor = Cursor(data)
        try:
            origin = decode_header(cursor)
        except Incomplete:
            self._wait_for_more(len(data))
            return
        except ProxyHeaderError:
            self._refuse("proxy-header-bad")
            return
        self._sock.recv(cursor.position)
        self._hand_over(origin)

    def _wait_for_more(self, seen: int) -> None:
        if not seen:  # it has ended
            self._refuse("proxy-header-missing")
            return
        self._hub.remove(self._sock.fileno())
        self._again = self._loop.call_later(LOOK_AGAIN, self._watch)

    def _hand_over(self, origin: HostPort | None) -> None:
        self._forget()
        peername = (origin.host, origin.port) if origin is not None else None
        try:
            SocketStream(self._sock, self._inner, self._hub, peername=peername)
        except OSError:
            self._sock.close()  # gone while it was greeted

    def _refuse(self, reason: str) -> None:
        _refuse(self._address, reason)
        self.close()

    def close(self) -> None:
        """Give it up."""
        self._forget()
        self._sock.close()

    def _forget(self) -> None:
        self._patience.cancel()
        if self._again is not None:
            self._again.cancel()
        self._hub.remove(self._sock.fileno())
        self._headers.done(self)


def _refuse(address: str, reason: str) -> None:
    log_event(_log, logging.WARNING, "connection refused", remote_addr=address, reason=reason)


def plain_address(address: str) -> str:
    """An address as it is logged and judged: no zone, and IPv4 not dressed as IPv6."""
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address
