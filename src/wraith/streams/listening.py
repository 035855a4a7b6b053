"""Listening sockets: bound all together or not at all, and described as really bound."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from wraith.errors import ListenError
from wraith.streams.accepting import Factory, SocketAcceptor
from wraith.values.address import HostPort, UnixPath

BACKLOG = 1024


class Listener:
    """What accepts on one or more bound sockets; made by `listen`."""

    def __init__(self, addresses: tuple[HostPort | UnixPath, ...]) -> None:
        self.addresses = addresses
        """What is really bound, with port 0 replaced by the port that was free."""
        self._servers: list[SocketAcceptor | asyncio.Server] = []

    def __repr__(self) -> str:
        return f"<Listener sockets={len(self._servers)}>"

    @property
    def port(self) -> int:
        """The bound TCP port, the same for every address; 0 for a Unix socket."""
        first = self.addresses[0]
        return first.port if isinstance(first, HostPort) else 0

    def close(self) -> None:
        """Stop accepting and free the address; connections already accepted live on."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for address in self.addresses:
            if isinstance(address, UnixPath):
                with contextlib.suppress(OSError):
                    Path(address.path).unlink()


async def listen(address: HostPort | UnixPath, factory: Factory, *, hint: str = "") -> Listener:
    """Bind an address and accept on it, each connection with a protocol of its own.

    An empty host means every interface, IPv4 and IPv6. Raises `ListenError`; `hint` is the next
    step that it offers.
    """
    try:
        sockets = await _bind(address)
    except OSError as error:
        raise ListenError(bind_failure(str(address), error), hint=hint or None) from error
    listener = Listener(tuple(_bound(address, sock) for sock in sockets))
    for sock in sockets:
        listener._servers.append(await _serve(sock, factory))
    return listener


async def listen_on(sock: socket.socket, factory: Factory) -> Listener:
    """Accept on a TCP socket that listens already; it is the listener's from now on."""
    sock.setblocking(False)
    listener = Listener((HostPort(*sock.getsockname()[:2]),))
    listener._servers.append(await _serve(sock, factory))
    return listener


async def _serve(sock: socket.socket, factory: Factory) -> SocketAcceptor | asyncio.Server:
    try:
        sock.listen(BACKLOG)
        return SocketAcceptor(sock, factory)
    except NotImplementedError:  # a loop that cannot watch descriptors (Windows)
        return await asyncio.get_running_loop().create_server(factory, sock=sock)


def _bound(asked: HostPort | UnixPath, sock: socket.socket) -> HostPort | UnixPath:
    if isinstance(asked, UnixPath):
        return asked
    host, port = sock.getsockname()[:2]
    return HostPort(host, port)


async def _bind(address: HostPort | UnixPath) -> list[socket.socket]:
    if isinstance(address, UnixPath):
        return [_bind_unix(address.path)]
    return await _bind_tcp(address.host, address.port)


async def _bind_tcp(host: str, port: int) -> list[socket.socket]:
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    distinct = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    sockets: list[socket.socket] = []
    try:
        for family, sockaddr in distinct:
            chosen = port or (sockets[0].getsockname()[1] if sockets else 0)
            sock = _bind_one(family, (sockaddr[0], chosen, *sockaddr[2:]), len(distinct) > 1)
            if sock is not None:
                sockets.append(sock)
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "no address of it belongs to this machine")
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind_one(
    family: socket.AddressFamily, sockaddr: tuple[object, ...], others: bool
) -> socket.socket | None:
    """One bound socket, or None for a family that this machine has switched off."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        if others:
            return None
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(sockaddr)
    except OSError as error:
        sock.close()
        # `localhost` resolves to ::1 also where no interface has IPv6.
        if others and error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return sock


def try_to_bind(address: HostPort | UnixPath) -> None:
    """See whether an address could be bound now, and leave it free. Raises `ListenError`.

    A Unix socket is not made, since its file would be; its folder must be there and ours to write.
    """
    try:
        if isinstance(address, UnixPath):
            _try_folder(Path(address.path))
            return
        found = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        distinct = list(dict.fromkeys((family, where) for family, _, _, _, where in found))
        for family, where in distinct:
            sock = _bind_one(family, where, len(distinct) > 1)
            if sock is not None:
                sock.close()
    except OSError as error:
        raise ListenError(bind_failure(str(address), error)) from error


def _try_folder(path: Path) -> None:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "permission denied")
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise OSError(errno.EEXIST, "a file of that name is there")


def _bind_unix(path: str) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # 0600 from the first moment, as OpenSSH's StreamLocalBindMask
    try:
        sock.setblocking(False)
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket that a killed process left; one that still answers is left alone."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except OSError:
            pass


def bind_failure(address: str, error: OSError) -> str:
    """One sentence on why an address cannot be bound."""
    if error.errno == errno.EADDRINUSE:
        return f"{address} is already in use"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{address} cannot be bound: permission denied"
    if isinstance(error, socket.gaierror):
        return f"{address} cannot be bound: the name is unknown"
    return f"{address} cannot be bound: {(error.strerror or str(error)).lower()}"
