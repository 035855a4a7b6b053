"""Reaching the real web server that answers strangers."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl

from wraith.dialing.direct import resolve
from wraith.dialing.happy_eyeballs import connect_first
from wraith.server.sockets import PlainSocket, Socket, TlsSocket
from wraith.transports.proxy_header import plain_address
from wraith.values.upstream_url import UpstreamUrl

TIMEOUT = 5.0
"""Seconds for the connection and the TLS handshake together."""

_OP_IGNORE_UNEXPECTED_EOF = 0x80


class Upstream:
    """A web server by its URL; each stranger gets a connection of its own."""

    def __init__(self, url: UpstreamUrl) -> None:
        self._url = url
        self._context = _context() if url.tls else None

    def __repr__(self) -> str:
        return f"<Upstream {self._url}>"

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS, and so can answer for itself what is no TLS."""
        return self._url.tls

    async def open(self, stranger: Socket, *, bare: bool) -> Socket:
        """A connection for a stranger, ready to carry bytes; `bare` leaves TLS to the stranger.

        Raises `OSError` (also `ssl.SSLError` and `TimeoutError`).
        """
        async with asyncio.timeout(TIMEOUT):
            addresses = await resolve(self._url.address.host, self._url.address.port)
            sock = await connect_first(addresses)
            try:
                if self._url.proxy_protocol:
                    await asyncio.get_running_loop().sock_sendall(sock, proxy_header(stranger))
                if self._context is None or bare:
                    return PlainSocket(sock)
                return await self._shake_hands(sock)
            except BaseException:
                sock.close()
                raise

    async def _shake_hands(self, sock: socket.socket) -> Socket:
        assert self._context is not None
        name = _server_name(self._url.address.host)
        tls = TlsSocket(sock, self._context, client=True, server_name=name)
        while not tls.shake_hands():
            await _readable(sock)
        return tls


def _context() -> ssl.SSLContext:
    """For a server on this machine, or one that is as good: its certificate is not looked at.

    What goes there is what strangers say, and they have said it to us.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    context.options &= ~_OP_IGNORE_UNEXPECTED_EOF  # how it ends is to be passed on
    return context


def _server_name(host: str) -> str | None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return None


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock.fileno(), wake)
    try:
        await ready
    finally:
        loop.remove_reader(sock.fileno())


def proxy_header(stranger: Socket) -> bytes:
    """PROXY protocol, version 1: who the stranger is, for the web server's log and limits.

    Source: the PROXY protocol, sections 2.1 and 2.2 (haproxy.org).
    """
    peer, local = stranger.peername, stranger.sock.getsockname()
    if peer is None:
        return b"PROXY UNKNOWN\r\n"
    source, target = plain_address(peer[0]), plain_address(local[0])
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {target} {peer[1]} {local[1]}\r\n".encode()
