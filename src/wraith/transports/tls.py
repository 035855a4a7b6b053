"""SSH inside TLS, for networks that let little else through."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from wraith.errors import TransportError
from wraith.streams.socket_stream import open_socket_stream
from wraith.streams.tls_stream import TlsStream
from wraith.transports.base import ConnectSettings, Kind, ProtocolFactory, Transport
from wraith.transports.reaching import Dial, dial_directly, dial_for, reach, server_address
from wraith.transports.stealth import ProvingTransport, read_secret
from wraith.transports.tls_acceptor import DEFAULT_PORT, tls_acceptors
from wraith.transports.tls_trust import Trust, explain
from wraith.values.address import HostPort


class TlsTransport:
    """Connects to one server by TLS; `dial` makes the socket below, directly by default."""

    name = "tls"

    def __init__(self, server: HostPort, trust: Trust, dial: Dial = dial_directly) -> None:
        self._server = server
        self._trust = trust
        self._dial = dial
        trust.context()  # a file that cannot be used is told before anything is opened

    def __repr__(self) -> str:
        return f"<TlsTransport {self.server}>"

    @property
    def server(self) -> str:
        """The server as `host:port`."""
        return str(self._server)

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        """As `Transport.connect`; raises `TlsError` or `CertificateError` where TLS fails."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        sock = await reach(self._server, self._dial, timeout)
        handshake = _Handshake(loop)
        stream = TlsStream(
            handshake,
            self._trust.context(),
            server_name=self._trust.name,
            on_secured=handshake.secured,
        )
        try:
            await open_socket_stream(sock, stream)
        except BaseException:
            sock.close()
            raise
        try:
            await self._secure(handshake, deadline, timeout)
            protocol = factory()
            stream.set_protocol(protocol)
            protocol.connection_made(stream)
        except BaseException:
            stream.abort()
            raise
        stream.resume_reading()
        return stream

    async def _secure(self, handshake: _Handshake, deadline: float, timeout: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                certificate = await handshake.done
        except TimeoutError:
            raise TransportError(
                f"{self.server} did not finish the TLS handshake within {timeout:g} s",
                hint="check that the port speaks TLS; plain SSH is --transport tcp",
            ) from None
        except (OSError, ssl.CertificateError) as error:
            raise explain(error, self.server, self._trust) from error
        self._trust.check(self.server, certificate)

    async def close(self) -> None:
        """As `Transport.close`; nothing is shared."""


class _Handshake(asyncio.Protocol):
    """Stands on the stream until the handshake is done; `done` yields the certificate in DER."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[bytes] = loop.create_future()

    def secured(self, stream: TlsStream) -> None:
        stream.pause_reading()  # what comes now is for the next protocol
        if not self.done.done():
            certificate = stream.get_extra_info("ssl_object").getpeercert(binary_form=True)
            self.done.set_result(certificate or b"")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("cut short"))
            self.done.exception()  # whoever waited may have given up


def _connecting(settings: ConnectSettings) -> Transport:
    server = server_address(settings.server, DEFAULT_PORT)
    trust = Trust(
        settings.tls_server_name or server.host,
        Path(settings.tls_ca) if settings.tls_ca is not None else None,
        settings.tls_pin,
        settings.insecure,
    )
    transport = TlsTransport(server, trust, dial_for(settings))
    if settings.stealth_secret is None:
        return transport
    return ProvingTransport(transport, read_secret(settings.stealth_secret))


TLS = Kind("tls", _connecting, tls_acceptors, default_port=DEFAULT_PORT, proxied=True)
