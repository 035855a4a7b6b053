"""TLS on a listening address where strangers meet nginx."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wraith.errors import UsageError
from wraith.policy.trusted_proxies import NOBODY, TrustedProxies
from wraith.protocol.first_bytes import Doorkeeper
from wraith.server.front_door import Caller, FrontDoor
from wraith.server.sockets import TlsSocket
from wraith.server.upstream import Upstream
from wraith.streams.log_line import log_event
from wraith.streams.socket_stream import SocketStream
from wraith.streams.tls_stream import TlsStream
from wraith.transports import as_nginx
from wraith.transports.base import Accept, Acceptor, ProtocolFactory, ServeSettings
from wraith.transports.stealth import read_secret
from wraith.transports.tcp import Greeter
from wraith.transports.tls_acceptor import Certificates, TlsAcceptor, certificates_of
from wraith.values.address import ListenAddress
from wraith.values.upstream_url import UpstreamUrl, parse_upstream_url

_log = logging.getLogger("wraith.server")


@dataclass(frozen=True, slots=True)
class Stealth:
    """Who answers strangers, and how ours are told from them."""

    upstream: UpstreamUrl | None = None
    secret: bytes | None = field(default=None, repr=False)
    file_name: str = "FILE"
    """What the file of the secret is called, for the line that clients are told."""

    @classmethod
    def parse(
        cls, wanted: bool, upstream: str | None, secret: str | Path | bytes | None
    ) -> Stealth | None:
        """Read the three options; None if none is set. Raises `UsageError`."""
        if not wanted and not upstream and secret is None:
            return None
        url = parse_upstream_url(upstream) if upstream else None
        if secret is None:
            return cls(url)
        name = "FILE" if isinstance(secret, bytes) else Path(secret).name
        return cls(url, read_secret(secret), name)


class StealthAcceptor(TlsAcceptor):
    """As `TlsAcceptor`, with a front door before SSH."""

    def __init__(
        self,
        address: ListenAddress,
        certificates: Certificates,
        stealth: Stealth,
        trusted: TrustedProxies = NOBODY,
    ) -> None:
        super().__init__(address, certificates, trusted=trusted)
        self._stealth = stealth
        self._accept: Accept = lambda _info: None
        self._door = FrontDoor(
            self._context,
            self._hand_over,
            doorkeeper=Doorkeeper(stealth.secret),
            upstream=Upstream(stealth.upstream) if stealth.upstream is not None else None,
        )

    @property
    def invitation(self) -> tuple[str, ...]:
        """As `Acceptor.invitation`, with the secret that is wanted."""
        options = super().invitation
        if not options or self._stealth.secret is None:
            return options
        return (*options, "--stealth-secret", self._stealth.file_name)

    def _context(self, first: bytes) -> ssl.SSLContext | None:
        """As `Opening`, of which only a context is any use here."""
        chosen = self._opening(first)
        return chosen if isinstance(chosen, ssl.SSLContext) else None

    def greeter(self, accept: Accept) -> ProtocolFactory:
        """As `SharedAcceptor.greeter`: everybody comes to the door first."""
        self._accept = accept
        return lambda: Caller(self._door)

    def _hand_over(self, wire: TlsSocket, early: bytes) -> None:
        """One of ours: from here on it is a TLS connection like any other."""
        stream = TlsStream.taken_over(Greeter("tls", self._accept), wire.handshake(early))
        try:
            if not wire.flush():  # it has not even taken our part of the handshake
                raise ConnectionAbortedError
            SocketStream(wire.sock, stream, peername=wire.peername)
        except OSError:
            wire.sock.close()
        except BaseException:
            wire.sock.close()
            raise

    async def close(self) -> None:
        """Stop accepting, and end the strangers."""
        await super().close()
        await self._door.close()


def stealth_acceptors(
    addresses: Sequence[ListenAddress], settings: ServeSettings, stealth: Stealth
) -> list[Acceptor]:
    """One acceptor for each address, all with the same certificate. Raises `UsageError`."""
    if not addresses:
        raise UsageError(
            "stealth needs TLS, and nothing listens with it",
            hint="use --transport tls, or --listen tls://ADDR:PORT",
        )
    certificates = certificates_of(settings, _nginx_context)
    trusted = settings.trusted_proxies()
    return [StealthAcceptor(address, certificates, stealth, trusted) for address in addresses]


def _nginx_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if not as_nginx.shape(context):
        log_event(
            _log,
            logging.WARNING,
            "stealth is weaker here",
            reason="this Python's OpenSSL cannot be given all of nginx's settings",
        )
    return context
