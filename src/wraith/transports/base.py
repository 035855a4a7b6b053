"""What a transport is: a way to get one duplex byte stream between a client and a server.

The connecting side has `Transport.connect`, the accepting side an `Acceptor`. Neither knows what is
said on the stream, and what is said there cannot learn which transport carries it. A `Kind` makes
both out of options; `registry` knows the kinds by their names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from wraith.policy.trusted_proxies import TrustedProxies
from wraith.values.address import ListenAddress
from wraith.values.proxy_url import ProxyUrl


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Who is at the other end of an accepted stream, as far as the transport knows.

    `address` is a network address as text, without a port; "" where the medium has none. `name` is
    what the medium itself has proved: the id of an iroh endpoint, else "".
    """

    transport: str
    address: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class PathInfo:
    """How the bytes of a stream travel now: what `get_extra_info("path")` knows, if anything.

    `kind` is `direct` or `relayed`; `round_trip` is in seconds.
    """

    kind: str
    round_trip: float

    def __str__(self) -> str:
        return f"{self.kind} {self.round_trip * 1000:.0f} ms"


ProtocolFactory = Callable[[], asyncio.Protocol]

Accept = Callable[[PeerInfo], asyncio.Protocol | None]
"""Called for each stream that comes in, before a byte is read; None turns the peer away."""


class Transport(Protocol):
    """The connecting side."""

    @property
    def name(self) -> str:
        """The transport's name on the command line, such as `tcp`."""
        ...

    @property
    def server(self) -> str:
        """Whom it connects to, for messages to the user and as the key for known hosts."""
        ...

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        """Make one stream and set the factory's protocol on it.

        `timeout` is in seconds. Raises `TransportError` in one sentence that names the server and
        the reason. Cancelled, it leaves nothing open.
        """
        ...

    async def close(self) -> None:
        """Let go of what the streams share, once they have ended; connect no more."""
        ...


class Acceptor(Protocol):
    """The accepting side: a bound address from which streams come."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses really bound, in URL form, such as `tcp://127.0.0.1:2222`."""
        ...

    async def start(self, accept: Accept) -> None:
        """Begin to accept. Raises `ListenError`."""
        ...

    async def close(self) -> None:
        """Stop accepting, and free the addresses; streams already accepted live on."""
        ...

    async def wait_closed(self) -> None:
        """Let go of what the accepted streams share, once they have ended."""
        ...

    @property
    def invitation(self) -> tuple[str, ...]:
        """The options with which `wraith connect` comes here; () where no command line does.

        For people to paste, once it has started.
        """
        ...

    @property
    def notes(self) -> Mapping[str, str]:
        """What else people want to know of it once it has started, such as a fingerprint."""
        ...

    def reload(self, settings: ServeSettings) -> None:
        """Read again what it keeps in files; what is bad keeps its old value and is logged."""
        ...


@runtime_checkable
class SharedAcceptor(Acceptor, Protocol):
    """An acceptor whose two halves can be in two processes: one listens, others greet.

    `start` is the three together. Sockets travel between them, so only a transport that begins with
    a bare one can be shared.
    """

    transport: str
    """The name of its transport, which says how streams are greeted."""

    async def prepare(self) -> None:
        """Have ready what streams are greeted with, such as a certificate."""
        ...

    def greeter(self, accept: Accept) -> ProtocolFactory:
        """What makes the first protocol of each stream that has come in."""
        ...

    async def listen(self, first: ProtocolFactory) -> None:
        """Bind, and set a `first` protocol on each stream that comes. Raises `ListenError`."""
        ...


class ConnectSettings(Protocol):
    """What a transport may read of `wraith.ConnectOptions`."""

    @property
    def server(self) -> str:
        """The server as `host` or `host:port`; "" where none was named."""
        ...

    @property
    def tls_server_name(self) -> str:
        """The name that the certificate must have; "" for the server's."""
        ...

    @property
    def tls_ca(self) -> str | Path | None:
        """A file of authorities to trust instead of the system's."""
        ...

    @property
    def tls_pin(self) -> str:
        """The only certificate key to accept, as `SHA256:…`."""
        ...

    @property
    def insecure(self) -> bool:
        """Whether any certificate will do."""
        ...

    @property
    def stealth_secret(self) -> str | Path | bytes | None:
        """The secret to prove first, or the file that holds it."""
        ...

    def proxy_url(self) -> ProxyUrl | None:
        """The proxy to go through; always None for a transport that is not `proxied`."""
        ...

    @property
    def peer(self) -> str:
        """The server as an iroh endpoint id, `ID@ADDR:PORT` or ticket; "" where none was named."""
        ...

    @property
    def iroh_relay(self) -> str | None:
        """A relay's URL, or `disabled`; None for the public ones."""
        ...

    @property
    def iroh_key(self) -> str | Path | None:
        """The file of an endpoint's secret key; None for a fresh one."""
        ...


class ServeSettings(Protocol):
    """What a transport may read of `wraith.ServeOptions`."""

    @property
    def tls_cert(self) -> str | Path | None:
        """A file with the certificate and its chain."""
        ...

    @property
    def tls_key(self) -> str | Path | None:
        """A file with the certificate's key; None if it is in the same file."""
        ...

    @property
    def tls_self_signed(self) -> bool:
        """Whether to make a certificate and keep it."""
        ...

    @property
    def acme_domain(self) -> Sequence[str]:
        """The names to get a certificate for by ACME; none where that is not wanted."""
        ...

    @property
    def acme_email(self) -> str:
        """How the authority may reach the operator; "" for not at all."""
        ...

    @property
    def acme_directory(self) -> str:
        """The authority."""
        ...

    @property
    def acme_ca(self) -> str | Path | None:
        """A file of who vouches for the authority; None for the system's."""
        ...

    @property
    def acme_http(self) -> str | None:
        """Where to answer its challenges by HTTP; None to answer by TLS."""
        ...

    def trusted_proxies(self) -> TrustedProxies:
        """The load balancers whose PROXY header says where a client comes from."""
        ...

    @property
    def iroh_relay(self) -> str | None:
        """A relay's URL, or `disabled`; None for the public ones."""
        ...

    @property
    def iroh_key(self) -> str | Path | None:
        """The file of an endpoint's secret key; None for `<state>/iroh.key`."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """A transport by its name: what makes its two sides out of a client's and a server's options.

    Both makers open nothing, and raise `UsageError` for options that they cannot use.
    """

    name: str
    """As on the command line and before `://`."""

    connecting: Callable[[Any], Transport]
    """Makes the connecting side from `ConnectSettings`."""

    accepting: Callable[[Sequence[ListenAddress], Any], Sequence[Acceptor]]
    """Makes one acceptor for each address of one server, from `ServeSettings`; they may share what
    they like."""

    default_port: int | None = None
    """The server's port where none is named; None for a transport without ports."""

    proxied: bool = False
    """Whether its connections can go through a SOCKS5 or HTTP proxy."""
