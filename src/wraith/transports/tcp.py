"""SSH over plain TCP, as OpenSSH has it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence

from wraith.policy.trusted_proxies import NOBODY, TrustedProxies
from wraith.streams.listening import Listener, listen, listen_on
from wraith.streams.socket_stream import open_socket_stream
from wraith.transports.base import (
    Accept,
    Acceptor,
    ConnectSettings,
    Kind,
    PeerInfo,
    ProtocolFactory,
    ServeSettings,
)
from wraith.transports.proxy_header import ProxyHeaders, plain_address
from wraith.transports.reaching import (
    Dial,
    dial_directly,
    dial_for,
    reach,
    server_address,
    server_option,
)
from wraith.values.address import HostPort, ListenAddress

DEFAULT_PORT = 22


class TcpTransport:
    """Connects to one server by TCP; `dial` makes the socket, directly by default."""

    name = "tcp"

    def __init__(self, server: HostPort, dial: Dial = dial_directly) -> None:
        self._server = server
        self._dial = dial

    def __repr__(self) -> str:
        return f"<TcpTransport {self.server}>"

    @property
    def server(self) -> str:
        """The server as `host:port`."""
        return str(self._server)

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        """As `Transport.connect`."""
        sock = await reach(self._server, self._dial, timeout)
        try:
            return await open_socket_stream(sock, factory())
        except BaseException:
            sock.close()
            raise

    async def close(self) -> None:
        """As `Transport.close`; nothing is shared."""


class _TcpListening:
    """What a listening address has in common, wherever its socket comes from."""

    transport = "tcp"

    def __init__(self, trusted: TrustedProxies) -> None:
        self._headers = ProxyHeaders(trusted)
        self._listener: Listener | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses really bound, in URL form."""
        return urls("tcp", self._listener)

    @property
    def invitation(self) -> tuple[str, ...]:
        """As `Acceptor.invitation`."""
        return server_options(self._listener, DEFAULT_PORT)

    @property
    def notes(self) -> Mapping[str, str]:
        """As `Acceptor.notes`; none."""
        return {}

    async def start(self, accept: Accept) -> None:
        """Begin to accept. Raises `ListenError`."""
        await self.listen(self.greeter(accept))

    async def prepare(self) -> None:
        """As `SharedAcceptor.prepare`; TCP needs nothing."""

    def greeter(self, accept: Accept) -> ProtocolFactory:
        """As `SharedAcceptor.greeter`."""
        return lambda: Greeter("tcp", accept)

    async def listen(self, first: ProtocolFactory) -> None:
        """As `SharedAcceptor.listen`."""
        raise NotImplementedError

    def reload(self, settings: ServeSettings) -> None:
        """As `Acceptor.reload`; TCP keeps nothing in files."""

    async def close(self) -> None:
        """Stop accepting."""
        self._headers.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def wait_closed(self) -> None:
        """As `Acceptor.wait_closed`; nothing is shared."""


class TcpAcceptor(_TcpListening):
    """Accepts streams on one listening address.

    An empty host means all interfaces, IPv4 and IPv6. Port 0 takes one free port, the same for both
    families. `trusted` are load balancers that say for whom they connect.
    """

    def __init__(self, address: ListenAddress, trusted: TrustedProxies = NOBODY) -> None:
        super().__init__(trusted)
        self._address = address

    def __repr__(self) -> str:
        return f"<TcpAcceptor {' '.join(self.addresses) or self._address}>"

    async def listen(self, first: ProtocolFactory) -> None:
        """As `SharedAcceptor.listen`."""
        self._listener = await listen(
            HostPort(self._address.host, self._address.port),
            lambda: self._headers.first(first()),
            hint="choose another port, for example --listen 0.0.0.0:2222",
        )


class InheritedTcpAcceptor(_TcpListening):
    """Accepts streams on a listening socket that another process has bound for us."""

    def __init__(self, sock: socket.socket, trusted: TrustedProxies = NOBODY) -> None:
        super().__init__(trusted)
        self._sock = sock

    def __repr__(self) -> str:
        return f"<InheritedTcpAcceptor {' '.join(self.addresses) or 'closed'}>"

    async def listen(self, first: ProtocolFactory) -> None:
        """As `SharedAcceptor.listen`; the socket is bound already."""
        self._listener = await listen_on(self._sock, lambda: self._headers.first(first()))

    async def close(self) -> None:
        """Stop accepting; whoever bound the socket may go on with it."""
        await super().close()
        self._sock.close()


def urls(scheme: str, listener: Listener | None) -> tuple[str, ...]:
    """What a listener is really bound to, in URL form."""
    bound = listener.addresses if listener is not None else ()
    return tuple(f"{scheme}://{address}" for address in bound)


def server_options(listener: Listener | None, default_port: int) -> tuple[str, ...]:
    """The options that lead to a listener: to its first address, as a person would choose."""
    bound = listener.addresses[0] if listener is not None else None
    return server_option(bound, default_port) if isinstance(bound, HostPort) else ()


class Greeter(asyncio.Protocol):
    """Learns who came, then hands the stream to the protocol that the server chose."""

    def __init__(self, transport: str, accept: Accept) -> None:
        self._transport = transport
        self._accept = accept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the server; the stream ends at once where it wants none."""
        assert isinstance(transport, asyncio.Transport)
        peername = transport.get_extra_info("peername")
        if peername is None:  # gone between the kernel's accept and ours
            transport.abort()
            return
        protocol = self._accept(PeerInfo(self._transport, plain_address(peername[0])))
        if protocol is None:
            transport.abort()
            return
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _connecting(settings: ConnectSettings) -> TcpTransport:
    return TcpTransport(server_address(settings.server, DEFAULT_PORT), dial_for(settings))


def _accepting(addresses: Sequence[ListenAddress], settings: ServeSettings) -> list[Acceptor]:
    return [TcpAcceptor(address, settings.trusted_proxies()) for address in addresses]


TCP = Kind("tcp", _connecting, _accepting, default_port=DEFAULT_PORT, proxied=True)
