"""The accepting side of TLS, and where a server's certificate comes from."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wraith.errors import IdentityError, UsageError
from wraith.policy.trusted_proxies import NOBODY, TrustedProxies
from wraith.state.folder import state_dir
from wraith.streams.listening import Listener, listen
from wraith.streams.log_line import log_event
from wraith.streams.tls_stream import Opening, TlsStream
from wraith.transports.base import Accept, Acceptor, ServeSettings
from wraith.transports.certificates import (
    SELF_SIGNED,
    CertificateSource,
    keep_self_signed,
    server_context,
)
from wraith.transports.proxy_header import ProxyHeaders
from wraith.transports.reaching import server_option
from wraith.transports.tcp import Greeter, urls
from wraith.values.address import HostPort, ListenAddress

_log = logging.getLogger("wraith.server")

DEFAULT_PORT = 443

WAYS = "give one with --tls-cert and --tls-key, or make one with --tls-self-signed"
"""How a server may get its certificate."""


class TlsAcceptor:
    """Accepts TLS on one listening address; see `TcpAcceptor` for what an address may be.

    The certificate comes from `certificates`, shared by all addresses of a server. `opening` may
    answer in another way, by the first bytes of each connection. `trusted` are load balancers that
    say for whom they connect.
    """

    def __init__(
        self,
        address: ListenAddress,
        certificates: ServedCertificate,
        opening: Opening | None = None,
        trusted: TrustedProxies = NOBODY,
    ) -> None:
        self._address = address
        self._headers = ProxyHeaders(trusted)
        self._certificates = certificates
        self._opening = opening or (lambda _first: certificates.source.context)
        self._listener: Listener | None = None

    def __repr__(self) -> str:
        return f"<TlsAcceptor {' '.join(self.addresses) or self._address}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses really bound, in URL form."""
        return urls("tls", self._listener)

    @property
    def invitation(self) -> tuple[str, ...]:
        """As `Acceptor.invitation`: by the certificate's name, or with a pin where it has none."""
        bound = self._listener.addresses[0] if self._listener is not None else None
        if not isinstance(bound, HostPort):
            return ()
        source = self._certificates.source
        if source.is_self_signed:
            pin = ("--tls-pin", source.pin)
            return ("--transport", "tls", *server_option(bound, DEFAULT_PORT), *pin)
        named = HostPort(source.name or bound.host, bound.port)
        return ("--transport", "tls", *server_option(named, DEFAULT_PORT))

    @property
    def notes(self) -> Mapping[str, str]:
        """As `Acceptor.notes`: the fingerprint of the certificate's key."""
        return {"tls pin": self._certificates.source.pin}

    async def start(self, accept: Accept) -> None:
        """Read the certificate, bind, and begin to accept. Raises `IdentityError` as well."""
        self._certificates.load()
        self._listener = await self._listen(accept)

    async def _listen(self, accept: Accept) -> Listener:
        return await listen(
            HostPort(self._address.host, self._address.port),
            lambda: self._headers.first(TlsStream(Greeter("tls", accept), self._opening)),
            hint="choose another port, for example --listen tls://0.0.0.0:8443",
        )

    def reload(self, settings: ServeSettings) -> None:
        """As `Acceptor.reload`."""
        self._certificates.reload(settings)

    async def close(self) -> None:
        """Stop accepting."""
        self._headers.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def wait_closed(self) -> None:
        """As `Acceptor.wait_closed`; nothing is shared."""


class ServedCertificate:
    """Where a server's certificate comes from, by its options; one for all its TLS addresses."""

    def __init__(
        self,
        settings: ServeSettings,
        make_context: Callable[[], ssl.SSLContext] = server_context,
    ) -> None:
        self._settings = settings
        self.source = CertificateSource(make_context)
        self._loaded = False
        _check(settings)

    def load(self) -> None:
        """Read the certificate, or make it; once. Raises `IdentityError`."""
        if not self._loaded:
            self._read(self._settings)
            self._loaded = True

    def reload(self, settings: ServeSettings) -> None:
        """Read it again; one that is bad leaves the old one in place and is logged."""
        try:
            _check(settings)
            self._read(settings)
        except (IdentityError, UsageError) as error:
            log_event(_log, logging.ERROR, "certificate not reloaded", reason=error.message)
            return
        self._settings = settings
        log_event(_log, logging.INFO, "certificate reloaded", pin=self.source.pin)

    def _read(self, settings: ServeSettings) -> None:
        if settings.tls_self_signed:
            path = state_dir() / SELF_SIGNED
            keep_self_signed(path)
            self.source.replace(path)
        else:
            assert settings.tls_cert is not None
            key = settings.tls_key
            self.source.replace(
                Path(settings.tls_cert).expanduser(),
                Path(key).expanduser() if key is not None else None,
            )


def _check(settings: ServeSettings) -> None:
    """Whether the options name one certificate. Raises `UsageError`."""
    if settings.tls_self_signed and (settings.tls_cert or settings.tls_key):
        raise UsageError(
            "a certificate of your own and --tls-self-signed exclude each other",
            hint="leave one of them out",
        )
    if settings.tls_key and not settings.tls_cert:
        raise UsageError("--tls-key needs the certificate that it belongs to", hint=WAYS)
    if not settings.tls_self_signed and not settings.tls_cert:
        raise UsageError("a TLS server needs a certificate", hint=WAYS)


def tls_acceptors(addresses: Sequence[ListenAddress], settings: ServeSettings) -> list[Acceptor]:
    """One acceptor for each address, all with the same certificate. Raises `UsageError`."""
    certificates = ServedCertificate(settings)
    trusted = settings.trusted_proxies()
    return [TlsAcceptor(address, certificates, trusted=trusted) for address in addresses]
