"""SSH over plain TCP, as OpenSSH has it."""

from __future__ import annotations

import asyncio
import errno
import socket

from wraith.dialing.direct import resolve
from wraith.dialing.happy_eyeballs import connect_first
from wraith.errors import TransportError
from wraith.streams.listening import Listener, listen, listen_on
from wraith.streams.socket_stream import open_socket_stream
from wraith.transports.base import Accept, PeerInfo, ProtocolFactory
from wraith.values.address import HostPort, ListenAddress

DEFAULT_PORT = 22


class TcpTransport:
    """Connects to one server by TCP, over whichever of its addresses answers first."""

    name = "tcp"

    def __init__(self, server: HostPort) -> None:
        self._server = server

    def __repr__(self) -> str:
        return f"<TcpTransport {self.server}>"

    @property
    def server(self) -> str:
        """The server as `host:port`."""
        return str(self._server)

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        """As `Transport.connect`."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await resolve(self._server.host, self._server.port)
                sock = await connect_first(addresses)
        except TimeoutError:
            raise TransportError(
                f"cannot reach {self.server}: no answer within {timeout:g} s",
                hint="check the address, and that no firewall drops the connection",
            ) from None
        except OSError as error:
            raise TransportError(f"cannot reach {self.server}: {_reason(error)}") from error
        try:
            return await open_socket_stream(sock, factory())
        except BaseException:
            sock.close()
            raise


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name is unknown, or cannot be resolved now"
    if error.errno == errno.ECONNREFUSED:
        return "connection refused: nothing listens on that port"
    return (error.strerror or str(error)).lower()


class TcpAcceptor:
    """Accepts streams on one listening address.

    An empty host means all interfaces, IPv4 and IPv6. Port 0 takes one free port, the same for both
    families.
    """

    def __init__(self, address: ListenAddress) -> None:
        self._address = address
        self._listener: Listener | None = None

    def __repr__(self) -> str:
        return f"<TcpAcceptor {' '.join(self.addresses) or self._address}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses really bound, in URL form."""
        bound = self._listener.addresses if self._listener is not None else ()
        return tuple(f"tcp://{address}" for address in bound)

    async def start(self, accept: Accept) -> None:
        """Bind and begin to accept."""
        self._listener = await listen(
            HostPort(self._address.host, self._address.port),
            lambda: _Accepted(accept),
            hint="choose another port, for example --listen 0.0.0.0:2222",
        )

    async def close(self) -> None:
        """Stop accepting."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class InheritedTcpAcceptor:
    """Accepts streams on a listening socket that another process has bound for us."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._listener: Listener | None = None

    def __repr__(self) -> str:
        return f"<InheritedTcpAcceptor {' '.join(self.addresses) or 'closed'}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The address that it was bound to, in URL form."""
        bound = self._listener.addresses if self._listener is not None else ()
        return tuple(f"tcp://{address}" for address in bound)

    async def start(self, accept: Accept) -> None:
        """Begin to accept."""
        self._listener = await listen_on(self._sock, lambda: _Accepted(accept))

    async def close(self) -> None:
        """Stop accepting; whoever bound the socket may go on with it."""
        self._sock.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class _Accepted(asyncio.Protocol):
    """Learns who came, then hands the stream to the protocol that the server chose."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        peername = transport.get_extra_info("peername")
        if peername is None:  # gone between the kernel's accept and ours
            transport.abort()
            return
        protocol = self._accept(PeerInfo("tcp", plain_address(peername[0])))
        if protocol is None:
            transport.abort()
            return
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def plain_address(address: str) -> str:
    """An address as it is logged and judged: no zone, and IPv4 not dressed as IPv6."""
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address
