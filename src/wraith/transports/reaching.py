"""Reaching the server's socket: what TCP, and whatever is carried by TCP, has in common."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from wraith.dialing.direct import resolve
from wraith.dialing.happy_eyeballs import connect_first
from wraith.dialing.reasons import told
from wraith.dialing.via_proxy import ViaProxy
from wraith.errors import ChannelRefused, Refusal, TransportError, UsageError
from wraith.transports.base import ConnectSettings
from wraith.values.address import HostPort, TcpDestination, parse_host_port
from wraith.values.proxy_url import ProxyUrl

Dial = Callable[[HostPort, float], Awaitable[socket.socket]]
"""Makes a connected, non-blocking socket that leads to a server, within so many seconds.

Raises `OSError` (`TimeoutError` among them), or a `TransportError` that says it better. Cancelled,
it leaves nothing open.
"""


async def dial_directly(server: HostPort, timeout: float) -> socket.socket:
    """A `Dial` by this machine's own sockets, to whichever address of the name answers first."""
    async with asyncio.timeout(timeout):
        return await connect_first(await resolve(server.host, server.port))


def dial_through(proxy: ProxyUrl) -> Dial:
    """A `Dial` by a proxy, which also resolves the server's name.

    Raises `ProxyError` for the proxy's own faults, and `TransportError` with what it says of the
    server.
    """
    via = ViaProxy(proxy)

    async def dial(server: HostPort, timeout: float) -> socket.socket:
        try:
            return await via.connect(TcpDestination(server.host, server.port), timeout)
        except ChannelRefused as error:
            raise _beyond(proxy, server, error.reason) from None

    return dial


def dial_for(settings: ConnectSettings) -> Dial:
    """The `Dial` that the options ask for."""
    proxy = settings.proxy_url()
    return dial_directly if proxy is None else dial_through(proxy)


async def reach(server: HostPort, dial: Dial, timeout: float) -> socket.socket:
    """A socket that leads to the server, within `timeout` seconds.

    Raises `TransportError` in one sentence that names the server and the reason.
    """
    try:
        return await dial(server, timeout)
    except TimeoutError:
        raise TransportError(
            f"cannot reach {server}: no answer within {timeout:g} s",
            hint="check the address, and that no firewall drops the connection",
        ) from None
    except OSError as error:
        raise TransportError(f"cannot reach {server}: {told(error)}") from error


_BEYOND = {
    Refusal.PROHIBITED: "the proxy does not allow it",
    Refusal.REFUSED: "the server refused the connection: nothing listens on that port",
    Refusal.HOST_UNREACHABLE: "the proxy cannot reach the host, or does not know its name",
    Refusal.NETWORK_UNREACHABLE: "the proxy has no way to its network",
    Refusal.TIMED_OUT: "no answer in time",
    Refusal.NAME_UNKNOWN: "the proxy does not know the name",
}


def _beyond(proxy: ProxyUrl, server: HostPort, reason: Refusal) -> TransportError:
    hint = None
    if reason is Refusal.PROHIBITED and proxy.scheme == "http":
        hint = "many HTTP proxies allow port 443 only: let the server listen there"
    return TransportError(
        f"cannot reach {server} through the proxy {proxy}: "
        f"{_BEYOND.get(reason, 'the proxy could not, and does not say why')}",
        hint=hint,
    )


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
