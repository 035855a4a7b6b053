"""The accepting side of TLS, and where a server's certificate comes from."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from wraith.errors import IdentityError, UsageError
from wraith.policy.trusted_proxies import NOBODY, TrustedProxies
from wraith.state.folder import state_dir
from wraith.streams.listening import Listener, listen
from wraith.streams.log_line import log_event
from wraith.streams.tls_stream import Opening, TlsStream
from wraith.transports.acme_options import AcmeOptions
from wraith.transports.base import Accept, Acceptor, ProtocolFactory, ServeSettings
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

WAYS = (
    "give one with --tls-cert and --tls-key, make one with --tls-self-signed, "
    "or have one issued with --acme-domain NAME"
)
"""How a server may get its certificate."""


class TlsAcceptor:
    """Accepts TLS on one listening address; see `TcpAcceptor` for what an address may be.

    The certificate comes from `certificates`, shared by all addresses of a server. `opening` may
    answer in another way, by the first bytes of each connection. `trusted` are load balancers that
    say for whom they connect.
    """

    transport = "tls"

    def __init__(
        self,
        address: ListenAddress,
        certificates: Certificates,
        opening: Opening | None = None,
        trusted: TrustedProxies = NOBODY,
    ) -> None:
        self._address = address
        self._headers = ProxyHeaders(trusted)
        self.certificates = certificates
        """Where its certificate comes from."""
        self._opening = opening or certificates.choose
        self._listener: Listener | None = None
        self._started = False

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
        source = self.certificates.source
        if source.is_self_signed:
            pin = ("--tls-pin", source.pin)
            return ("--transport", "tls", *server_option(bound, DEFAULT_PORT), *pin)
        named = HostPort(self.certificates.name or bound.host, bound.port)
        return ("--transport", "tls", *server_option(named, DEFAULT_PORT))

    @property
    def notes(self) -> Mapping[str, str]:
        """As `Acceptor.notes`: the fingerprint of the certificate's key, where there is one yet."""
        pin = self.certificates.source.pin
        return {"tls pin": pin} if pin else {}

    async def start(self, accept: Accept) -> None:
        """Read the certificate, bind, and begin to accept. Raises `IdentityError` as well."""
        await self.prepare()
        await self.listen(self.greeter(accept))

    async def prepare(self) -> None:
        """As `SharedAcceptor.prepare`: read the certificate. Raises `IdentityError`."""
        await self.certificates.start()
        self._started = True

    def greeter(self, accept: Accept) -> ProtocolFactory:
        """As `SharedAcceptor.greeter`."""
        return lambda: TlsStream(Greeter("tls", accept), self._opening)

    async def listen(self, first: ProtocolFactory) -> None:
        """As `SharedAcceptor.listen`."""
        self._listener = await listen(
            HostPort(self._address.host, self._address.port),
            lambda: self._headers.first(first()),
            hint="choose another port, for example --listen tls://0.0.0.0:8443",
        )

    def reload(self, settings: ServeSettings) -> None:
        """As `Acceptor.reload`."""
        self.certificates.reload(settings)

    async def close(self) -> None:
        """Stop accepting."""
        self._headers.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._started:
            self._started = False
            await self.certificates.close()

    async def wait_closed(self) -> None:
        """As `Acceptor.wait_closed`; nothing is shared."""


class Certificates(Protocol):
    """Where the certificate of a server comes from; one for all its TLS addresses."""

    source: CertificateSource

    @property
    def name(self) -> str | None:
        """The first name that it is for, or will be."""
        ...

    def choose(self, first: bytes) -> ssl.SSLContext | None:
        """How to answer a client, by its first bytes; None while they do not say enough."""
        ...

    async def start(self) -> None:
        """Have it ready, or begin to. Raises `IdentityError` or `ListenError`."""
        ...

    async def close(self) -> None:
        """One address needs it no more; called once for each `start`."""
        ...

    def reload(self, settings: ServeSettings) -> None:
        """Read it again; what is bad leaves the old one in place and is logged."""
        ...


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

    @property
    def name(self) -> str | None:
        """As `Certificates.name`."""
        return self.source.name

    def choose(self, _first: bytes) -> ssl.SSLContext:
        """As `Certificates.choose`; everybody is shown the same."""
        return self.source.context

    async def start(self) -> None:
        """Read the certificate, or make it; once. Raises `IdentityError`."""
        if not self._loaded:
            self._read(self._settings)
            self._loaded = True

    async def close(self) -> None:
        """Nothing is kept open for it."""

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


def certificates_of(
    settings: ServeSettings, make_context: Callable[[], ssl.SSLContext] = server_context
) -> Certificates:
    """Where a server's certificate comes from, by its options. Raises `UsageError`.

    `make_context` makes the context that a certificate is loaded into.
    """
    acme = AcmeOptions.of(settings)
    if acme is None:
        return ServedCertificate(settings, make_context)
    if settings.tls_self_signed or settings.tls_cert or settings.tls_key:
        raise UsageError(
            "--acme-domain and a certificate of another kind exclude each other",
            hint="leave one of them out",
        )
    from wraith.transports.acme import AcmeCertificate  # needs the extra

    return AcmeCertificate(acme, make_context=make_context)


def tls_acceptors(addresses: Sequence[ListenAddress], settings: ServeSettings) -> list[Acceptor]:
    """One acceptor for each address, all with the same certificate. Raises `UsageError`."""
    certificates = certificates_of(settings)
    trusted = settings.trusted_proxies()
    return [TlsAcceptor(address, certificates, trusted=trusted) for address in addresses]
