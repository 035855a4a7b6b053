"""Reaching the server's socket: what TCP, and whatever is carried by TCP, has in common."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable

from wraith.dialing.direct import resolve
from wraith.dialing.happy_eyeballs import connect_first
from wraith.errors import TransportError, UsageError
from wraith.values.address import HostPort, parse_host_port

Dial = Callable[[HostPort], Awaitable[socket.socket]]
"""Makes a connected, non-blocking socket that leads to a server.

Raises `OSError`, or a `TransportError` that says it better. Cancelled, it leaves nothing open.
"""


async def dial_directly(server: HostPort) -> socket.socket:
    """A `Dial` by this machine's own sockets, to whichever address of the name answers first."""
    return await connect_first(await resolve(server.host, server.port))


async def reach(server: HostPort, dial: Dial, timeout: float) -> socket.socket:
    """A socket that leads to the server, within `timeout` seconds.

    Raises `TransportError` in one sentence that names the server and the reason.
    """
    try:
        async with asyncio.timeout(timeout):
            return await dial(server)
    except TimeoutError:
        raise TransportError(
            f"cannot reach {server}: no answer within {timeout:g} s",
            hint="check the address, and that no firewall drops the connection",
        ) from None
    except OSError as error:
        raise TransportError(f"cannot reach {server}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name is unknown, or cannot be resolved now"
    if error.errno == errno.ECONNREFUSED:
        return "connection refused: nothing listens on that port"
    return (error.strerror or str(error)).lower()


def server_address(server: str, default_port: int) -> HostPort:
    """The server as the user named it. Raises `UsageError`."""
    if not server:
        raise UsageError("no server given", hint="name it with --server HOST[:PORT]")
    address = parse_host_port(server, default_port=default_port)
    if not address.port:
        raise UsageError(f"no server can have port 0: {server}")
    return address


def server_option(bound: HostPort, default_port: int) -> tuple[str, str]:
    """The `--server` option that leads to a bound address, seen from another machine."""
    host = _own_address() if bound.host in ("0.0.0.0", "::") else bound.host  # noqa: S104
    address = HostPort(host, bound.port)
    text = str(address)
    return "--server", text.rpartition(":")[0] if bound.port == default_port else text


def _own_address() -> str:
    """The address of this machine that others most likely reach; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
