"""What `wraith.serve` needs to know; the command line only fills these in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from wraith.errors import UsageError
from wraith.policy.access import AccessRules
from wraith.policy.trusted_proxies import TrustedProxies
from wraith.protocol.envelope import DEFAULT_MAX_FRAME, checked_max_frame
from wraith.pubsub.backend import BackendFactory
from wraith.pubsub.bus import May
from wraith.pubsub.bus_url import MEMORY, BusUrl
from wraith.server.services import Service, checked_name
from wraith.server.stealth import Stealth, stealth_acceptors
from wraith.transports.acme_options import LETS_ENCRYPT
from wraith.transports.base import Acceptor
from wraith.transports.registry import acceptors, kind_of
from wraith.values.address import HostPort, ListenAddress, parse_host_port, parse_listen
from wraith.values.proxy_url import ProxyUrl, parse_proxy_url


class RemoteForwardScope(StrEnum):
    """Which addresses a remote forward may bind."""

    OFF = "off"
    LOOPBACK = "loopback"
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where to listen, whom to let in, and what to allow them.

    Raises `UsageError` on a value that cannot be used.
    """

    listen: Sequence[str | Acceptor] = ()
    """Addresses as `ADDR:PORT` or with a transport, as in `tcp://ADDR:PORT`, or acceptor objects
    such as `wraith.testing.MemoryAcceptor`; several transports may serve together. By default the
    transport's own port (22 for TCP, 443 for TLS) of every interface."""

    transport: str = "tcp"
    """The transport of addresses without a scheme."""

    iroh_relay: str | None = None
    """The iroh relay by its URL, or `disabled`; the public ones by default."""

    iroh_key: str | Path | None = field(default=None, repr=False)
    """The file of the iroh endpoint's secret key. `<state>/iroh.key` by default, made on first
    use."""

    key: str | Path | bytes | None = field(default=None, repr=False)
    """The SSH host key: a path, or key material in memory. `<state>/host_ed25519` by default, made
    on first use."""

    authorized_keys: str | Path | bytes | None = field(default=None, repr=False)
    """OpenSSH's authorized_keys: a path, or the text itself as bytes. `~/.ssh/authorized_keys` by
    default."""

    authorize: Sequence[str] = ()
    """Public keys, each a line of authorized_keys."""

    cert_authority: Sequence[str | Path] = ()
    """Files with the public keys of authorities whose user certificates are trusted."""

    revoked_keys: str | Path | None = None
    """A file of revoked keys: an OpenSSH KRL, or a list of public keys."""

    tls_cert: str | Path | None = None
    """A PEM file with the TLS certificate and its chain; read again by `Server.reload`."""

    tls_key: str | Path | None = None
    """The certificate's key, if it is not in the same file."""

    tls_self_signed: bool = False
    """Make a TLS certificate on first use and keep it as `<state>/tls_self_signed.pem`."""

    stealth: bool = False
    """Let strangers on the TLS addresses meet nginx instead of SSH; the two options below imply
    it."""

    stealth_upstream: str | None = None
    """The real web server that answers strangers, such as `https://127.0.0.1:8443`, with
    `?proxy_protocol=1` if it is to be told where they come from."""

    stealth_secret: str | Path | bytes | None = field(default=None, repr=False)
    """A file with a secret, or the secret itself as bytes: who has not proved it is a stranger,
    also one who speaks SSH. Not changed by a reload."""

    rules: Sequence[str] = ()
    """Access rules, `allow|deny PATTERN …`; the first that matches decides."""

    services: Mapping[str, Service] = field(default_factory=dict, repr=False)
    """What answers channels to reserved names (`wraith-…`), beside the server's own services or in
    place of one. Not changed by a reload."""

    bus: str = field(default=MEMORY, repr=False)
    """Where the event bus meets those of other servers: `memory://` for nowhere, or
    `redis://[user:password@]host[:port][/db][?prefix=…]`. Not changed by a reload."""

    bus_may: May | None = field(default=None, repr=False)
    """What peers may do on the event bus: `may(peer, action, topic)`, asked for every event and
    every subscription, with a `ServicePeer`. By default everything that rules and keys let in. Not
    changed by a reload."""

    bus_max_frame: int = DEFAULT_MAX_FRAME
    """The largest event on the bus, in bytes, from 1 KiB to 64 MiB."""

    acme_domain: Sequence[str] = ()
    """Names and addresses to get one certificate for, and to keep it fresh, from an ACME authority;
    needs `wraith-tunnel[acme]`. Using it agrees to the authority's terms of service."""

    acme_email: str = ""
    """How the authority may reach the operator."""

    acme_directory: str = LETS_ENCRYPT
    """The authority, by the URL of its directory; Let's Encrypt by default."""

    acme_ca: str | Path | None = None
    """Who vouches for the authority itself, as a PEM file; the system's roots by default."""

    acme_http: str | None = None
    """Answer its challenges by HTTP on this `ADDR:PORT`, to which port 80 leads, instead of by TLS
    on the listening port, to which port 443 must lead."""

    proxy: str | ProxyUrl | None = field(default=None, repr=False)
    """The proxy through which destinations are reached, and which resolves their names:
    `socks5://[user:pass@]host:port` or `http://…`; `direct` or None for none."""

    remote_forwards: str = RemoteForwardScope.LOOPBACK
    """Which addresses `-R` may bind: `off`, `loopback` or `any`."""

    trust_proxy: Sequence[str] = ()
    """Networks of load balancers whose PROXY header, version 1 or 2, says where a client comes
    from. Connections from there must begin with one. Not changed by a reload."""

    metrics: str | None = None
    """Where the server's counts are shown as Prometheus text, `ADDR:PORT`; nowhere by default.
    Whoever reaches it may read it. Not changed by a reload."""

    max_connections_per_ip: int = 0
    """Connections from one address at a time; 0 for no limit."""

    max_auth_attempts: int = 10
    """Failed attempts after which a connection is ended."""

    max_channels: int = 1024
    """Channels of one session."""

    max_startups: int = 100
    """Connections that are not authenticated yet, in all."""

    max_startups_per_ip: int = 20
    """Connections that are not authenticated yet, from one address (IPv6: one /64)."""

    login_grace: float = 30.0
    """Seconds in which a client must authenticate."""

    keepalive: float = 15.0
    """Seconds of silence after which the client is asked; three of them end the session."""

    connect_timeout: float = 10.0
    """Seconds for reaching a destination."""

    rekey_bytes: int | None = None
    """Traffic after which the session keys are renewed; the SSH library's default is 1 GiB."""

    def __post_init__(self) -> None:
        """Check everything now, so that a mistake is told before anything is opened."""
        self._check_tls_options()
        self.acceptors()
        by_tcp = {"tcp", "tls"}
        if self.trust_proxy and not by_tcp.issuperset(a.scheme for a in self.listen_addresses()):
            raise UsageError("trust-proxy is for tcp and tls; no other listener reads the header")
        self.metrics_address()
        self.access_rules()
        self.proxy_url()
        self.remote_forward_scope()
        for name in self.services:
            checked_name(name)
        self.bus_backend()
        try:
            checked_max_frame(self.bus_max_frame)
        except ValueError as error:
            raise UsageError(str(error)) from None
        for name in ("max_auth_attempts", "max_channels", "max_startups", "max_startups_per_ip"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name.replace('_', '-')} must be at least 1")
        for name in ("login_grace", "keepalive", "connect_timeout"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name.replace('_', '-')} must be more than 0 seconds")

    def listen_addresses(self) -> list[ListenAddress]:
        """The addresses to listen on, beside the acceptors that were given."""
        texts = [item for item in self.listen if isinstance(item, str)]
        if not self.listen:
            texts = [_everywhere(self.transport)]
        return [parse_listen(text, default_scheme=self.transport) for text in texts]

    def acceptors(self) -> list[Acceptor]:
        """The acceptors that were given, and one for each address; nothing is opened yet."""
        given = [item for item in self.listen if not isinstance(item, str)]
        addresses = self.listen_addresses()
        stealth = self.stealth_settings()
        if stealth is None:
            return [*given, *acceptors(addresses, self)]
        hidden = [address for address in addresses if address.scheme == "tls"]
        others = [address for address in addresses if address.scheme != "tls"]
        return [*given, *stealth_acceptors(hidden, self, stealth), *acceptors(others, self)]

    def stealth_settings(self) -> Stealth | None:
        """Who meets strangers; None if nobody is hidden from them."""
        return Stealth.parse(self.stealth, self.stealth_upstream, self.stealth_secret)

    def bus_backend(self) -> BackendFactory:
        """What joins the bus to those of other servers."""
        return BusUrl.parse(self.bus).backend()

    def _check_tls_options(self) -> None:
        """An option that would change nothing is a mistake."""
        if any(address.scheme == "tls" for address in self.listen_addresses()):
            return
        for name in ("tls_cert", "tls_key", "tls_self_signed", "acme_domain"):
            if getattr(self, name):
                raise UsageError(
                    f"--{name.replace('_', '-')} is about TLS, and nothing listens with it",
                    hint="use --transport tls, or --listen tls://ADDR:PORT",
                )

    def access_rules(self) -> AccessRules:
        """The rules, parsed."""
        return AccessRules.parse(list(self.rules))

    def proxy_url(self) -> ProxyUrl | None:
        """The proxy, parsed."""
        return parse_proxy_url(self.proxy) if isinstance(self.proxy, str) else self.proxy

    def metrics_address(self) -> HostPort | None:
        """Where the metrics are, parsed."""
        return parse_host_port(self.metrics) if self.metrics else None

    def trusted_proxies(self) -> TrustedProxies:
        """The load balancers, parsed."""
        return TrustedProxies.parse(self.trust_proxy)

    def remote_forward_scope(self) -> RemoteForwardScope:
        """Which addresses remote forwards may bind."""
        try:
            return RemoteForwardScope(self.remote_forwards)
        except ValueError:
            raise UsageError(
                f"remote-forwards must be off, loopback or any, not {self.remote_forwards!r}"
            ) from None


def _everywhere(transport: str) -> str:
    """Where a transport listens unless told: every interface, at its own port if it has one."""
    port = kind_of(transport).default_port
    return f"{transport}://" if port is None else f"{transport}://:{port}"
