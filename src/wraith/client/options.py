"""What `wraith.connect` needs to know; the command line only fills these in."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wraith.errors import UsageError
from wraith.ssh.keys import AskPassphrase, no_passphrase
from wraith.transports.base import Transport
from wraith.transports.registry import kind_of
from wraith.values.address import HostPort, parse_host_port
from wraith.values.credentials import Credentials, parse_credentials
from wraith.values.forward_spec import (
    LocalForward,
    RemoteForward,
    parse_local_forward,
    parse_remote_forward,
)
from wraith.values.proxy_url import ProxyUrl, parse_proxy_url

DEFAULT_PORT = 22
"""The port that known_hosts leaves out (sshd(8))."""

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """How to reach a server, who we are, and what to offer.

    Raises `UsageError` on a value that cannot be used.
    """

    server: str = ""
    """The server as `host` or `host:port`; without a port it is the transport's own: 22 for TCP,
    443 for TLS."""

    peer: str = ""
    """The server as an iroh endpoint: its id, `ID@ADDR:PORT`, or a ticket."""

    transport: str | Transport = "tcp"
    """`tcp`, another transport's name, or a transport object such as
    `wraith.testing.MemoryTransport`."""

    proxy: str | ProxyUrl | None = field(default=None, repr=False)
    """The proxy through which the transport's own connection goes, and which resolves the server's
    name: `socks5://[user:pass@]host:port` or `http://…`; `direct` or None for none."""

    iroh_relay: str | None = None
    """The iroh relay by its URL, or `disabled`; the public ones by default."""

    iroh_key: str | Path | None = field(default=None, repr=False)
    """The file of the iroh endpoint's secret key; a fresh key by default."""

    user: str = ""
    """The user name to log in as; the login name by default."""

    identity: Sequence[str | Path | bytes] = ()
    """Private keys: paths, or key material in memory. By default `~/.ssh/id_ed25519`, then the
    agent. A certificate beside a path (`-cert.pub`) is used with it."""

    ask_passphrase: AskPassphrase = field(default=no_passphrase, repr=False)
    """Asked for the passphrase of a locked key."""

    host_key: str = ""
    """The server's host key as `SHA256:…`; no other is accepted."""

    known_hosts: str | Path | None = None
    """Where host keys are recorded; `<state>/known_hosts` by default, with `~/.ssh/known_hosts`
    read beside it."""

    strict_host_key: bool = False
    """Refuse a server whose key is not on record, instead of recording it on first use."""

    socks5: str | None = None
    """Where to offer the SOCKS5 proxy, as `host:port`; None offers none."""

    socks5_auth: str | Credentials | None = field(default=None, repr=False)
    """Credentials as `user:password` that the SOCKS5 port demands."""

    socks5_open: bool = False
    """Allow a SOCKS5 port beyond loopback without credentials."""

    local_forwards: Sequence[str | LocalForward] = ()
    """As OpenSSH's `-L`."""

    remote_forwards: Sequence[str | RemoteForward] = ()
    """As OpenSSH's `-R`."""

    tls_server_name: str = ""
    """The name that the server's TLS certificate must have, if not that of `server`; sent as SNI
    (RFC 6066 section 3)."""

    tls_ca: str | Path | None = None
    """A PEM file of the authorities to trust for TLS, instead of the system's."""

    tls_pin: str = ""
    """The key of the server's TLS certificate as `SHA256:…`; enough by itself."""

    insecure: bool = False
    """Accept any TLS certificate. SSH still checks the host key."""

    stealth_secret: str | Path | bytes | None = field(default=None, repr=False)
    """A file with the secret that the server's `--stealth-secret` asks for, or the secret itself as
    bytes."""

    keepalive: float = 15.0
    """Seconds of silence after which the server is asked; three of them end the session."""

    connect_timeout: float = 10.0
    """Seconds for one attempt, and how long a new local connection waits for a session."""

    exit_on_forward_failure: bool = False
    """Whether a remote forward that the server refuses ends the client."""

    retry_first_attempt: bool = False
    """Whether network trouble at the first attempt is retried, as the command line does, instead
    of raised."""

    rekey_bytes: int | None = None
    """Traffic after which the session keys are renewed; the SSH library's default is 1 GiB."""

    def __post_init__(self) -> None:
        """Check everything now, so that a mistake is told before anything is opened."""
        self._check_tls_options()
        self.make_transport()
        self.parsed_local_forwards()
        self.parsed_remote_forwards()
        self.socks5_address()
        for name in ("keepalive", "connect_timeout"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name.replace('_', '-')} must be more than 0 seconds")
        if self.host_key and not _FINGERPRINT.fullmatch(self.host_key):
            raise UsageError(
                "the host key must be given as SHA256:…, as the server prints it on start"
            )

    def make_transport(self) -> Transport:
        """The transport that these options name."""
        proxied = self.proxy_url() is not None
        if not isinstance(self.transport, str):
            if proxied:
                raise _no_proxy_for(self.transport.name)
            return self.transport
        if self.peer and self.transport != "iroh":
            raise UsageError("a peer is reached by iroh", hint="add --transport iroh")
        kind = kind_of(self.transport)
        if proxied and not kind.proxied:
            raise _no_proxy_for(kind.name)
        return kind.connecting(self)

    def proxy_url(self) -> ProxyUrl | None:
        """The proxy, parsed."""
        return parse_proxy_url(self.proxy) if isinstance(self.proxy, str) else self.proxy

    def _check_tls_options(self) -> None:
        """An option that would change nothing is a mistake."""
        if self.transport == "tls" or not isinstance(self.transport, str):
            return
        for name in ("tls_server_name", "tls_ca", "tls_pin", "insecure", "stealth_secret"):
            if getattr(self, name):
                raise UsageError(
                    f"--{name.replace('_', '-')} is about TLS, and the transport is "
                    f"{self.transport}",
                    hint="use --transport tls",
                )

    def known_host_name(self) -> tuple[str, int]:
        """The host and port under which the server's key is recorded."""
        transport = self.transport
        port = kind_of(transport).default_port if isinstance(transport, str) else DEFAULT_PORT
        if not self.server or port is None:
            return self.make_transport().server, DEFAULT_PORT
        address = parse_host_port(self.server, default_port=port)
        return address.host, address.port

    def user_name(self) -> str:
        """The user to log in as."""
        try:
            return self.user or getpass.getuser()
        except (KeyError, OSError):  # an account without a name, as in some containers
            raise UsageError("this account has no name", hint="give one with --user") from None

    def parsed_local_forwards(self) -> list[LocalForward]:
        """The `-L` forwards."""
        return [
            parse_local_forward(item) if isinstance(item, str) else item
            for item in self.local_forwards
        ]

    def parsed_remote_forwards(self) -> list[RemoteForward]:
        """The `-R` forwards."""
        return [
            parse_remote_forward(item) if isinstance(item, str) else item
            for item in self.remote_forwards
        ]

    def socks5_credentials(self) -> Credentials | None:
        """What the SOCKS5 port demands, if anything."""
        if isinstance(self.socks5_auth, str):
            return parse_credentials(self.socks5_auth)
        return self.socks5_auth

    def socks5_address(self) -> HostPort | None:
        """Where the SOCKS5 port is; refused where it would be open to others."""
        credentials = self.socks5_credentials()
        if self.socks5 is None:
            return None
        address = parse_host_port(self.socks5)
        if credentials is None and not self.socks5_open and not is_loopback(address.host):
            raise UsageError(
                f"a SOCKS5 proxy on {self.socks5} would be open to others",
                hint="demand credentials with --socks5-auth USER:PASS, or say --socks5-open",
            )
        return address


def _no_proxy_for(transport: str) -> UsageError:
    return UsageError(
        f"the transport {transport} cannot go through a proxy",
        hint="leave out --proxy, or take a transport that can: tcp or tls",
    )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    return host.lower() == "localhost" or host.startswith("127.") or host == "::1"
