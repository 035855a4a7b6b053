"""Dialing through an upstream proxy, SOCKS5 or HTTP.

What travels in between is a machine's affair (`wraith.protocol`); here are the socket, the clock
and the errors. The proxy's answer is read to its last byte and no further: what is handed on is a
bare socket whose next byte is the destination's, as if it had been dialled directly.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from wraith.dialing.direct import MAX_PORT, resolve
from wraith.dialing.happy_eyeballs import connect_first
from wraith.dialing.reasons import refusal_for, told
from wraith.errors import ChannelRefused, ProxyAuthenticationError, ProxyError, Refusal
from wraith.protocol.asking_side import AskingSide
from wraith.protocol.events import (
    NEED_DATA,
    AuthenticationFailed,
    ClientEvent,
    Connected,
    Malformed,
    Refused,
)
from wraith.protocol.http_connect import HttpConnectClient
from wraith.protocol.socks5.client import Socks5Client
from wraith.values.address import TcpDestination
from wraith.values.credentials import Credentials
from wraith.values.host_text import TextError, checked_host
from wraith.values.proxy_url import ProxyUrl

LONGEST_LOOK = 16 * 1024
"""Bytes of an answer that are looked at at once; no answer's head is longer."""

_MACHINES: dict[str, Callable[[TcpDestination, Credentials | None], AskingSide]] = {
    "socks5": Socks5Client,
    "http": HttpConnectClient,
}

_KINDS = {"socks5": "a SOCKS5 proxy", "http": "an HTTP proxy"}


class ViaProxy:
    """Asks one proxy for connections; names are the proxy's to resolve."""

    def __init__(self, proxy: ProxyUrl) -> None:
        self._proxy = proxy

    def __repr__(self) -> str:
        return f"<ViaProxy {self._proxy}>"

    @property
    def proxy(self) -> ProxyUrl:
        """The proxy; printed, it is without its credentials."""
        return self._proxy

    async def connect(self, destination: TcpDestination, timeout: float) -> socket.socket:
        """A connected, non-blocking socket to the destination, within `timeout` seconds.

        Raises `ProxyError` for what the proxy itself is to blame for, and `ChannelRefused` with
        what it says about the destination, `PROHIBITED` if it does not allow it. Neither names
        the destination. Cancelled, it leaves nothing open.
        """
        machine = self._machine(destination)
        deadline = asyncio.get_running_loop().time() + timeout
        sock = await self._reach_proxy(deadline, timeout)
        try:
            async with asyncio.timeout_at(deadline):
                self._judge(await _converse(sock, machine))
        except TimeoutError:
            sock.close()
            if machine.owes_an_answer:
                raise self._useless(f"it said nothing within {timeout:g} s") from None
            raise ChannelRefused(Refusal.TIMED_OUT) from None
        except OSError as error:
            sock.close()
            raise self._useless(f"it broke the connection ({told(error)})") from None
        except BaseException:
            sock.close()
            raise
        return sock

    def _machine(self, destination: TcpDestination) -> AskingSide:
        if destination.port > MAX_PORT:
            raise ChannelRefused(Refusal.FAILED)
        try:
            checked_host(destination.host)
            return _MACHINES[self._proxy.scheme](destination, self._proxy.credentials)
        except (TextError, ValueError):
            raise ChannelRefused(Refusal.NAME_UNKNOWN) from None

    async def _reach_proxy(self, deadline: float, timeout: float) -> socket.socket:
        address = self._proxy.address
        try:
            async with asyncio.timeout_at(deadline):
                return await connect_first(await resolve(address.host, address.port))
        except TimeoutError:
            why, reason = f"no answer within {timeout:g} s", Refusal.NETWORK_UNREACHABLE
        except OSError as error:
            why, reason = told(error), Refusal.NETWORK_UNREACHABLE
            if refusal_for(error) is Refusal.RESOURCE_SHORTAGE:
                reason = Refusal.RESOURCE_SHORTAGE
        raise ProxyError(
            f"cannot reach the proxy {self._proxy}: {why}",
            reason,
            hint="check that the proxy runs, and its address in --proxy",
        )

    def _judge(self, event: ClientEvent) -> None:
        match event:
            case Connected():
                return
            case Refused(_, reason):
                raise ChannelRefused(reason)
            case AuthenticationFailed():
                raise self._unauthenticated()
            case Malformed(reason):
                raise self._useless(reason)
            case _:
                raise self._useless("it ended the connection in the middle of its answer")

    def _unauthenticated(self) -> ProxyError:
        if self._proxy.credentials is None:
            problem = "wants a user name and a password"
        else:
            problem = "does not accept the user name and the password"
        scheme, address = self._proxy.scheme, self._proxy.address
        return ProxyAuthenticationError(
            f"the proxy {self._proxy} {problem}",
            Refusal.FAILED,
            hint=f"give it as {scheme}://USER:PASS@{address}; --proxy @FILE reads that from a file",
        )

    def _useless(self, reason: str) -> ProxyError:
        kind = _KINDS[self._proxy.scheme]
        return ProxyError(
            f"the proxy {self._proxy} does not answer as {kind} does: {reason}",
            Refusal.FAILED,
            hint="check that it is what --proxy says: socks5:// or http://",
        )


async def _converse(sock: socket.socket, machine: AskingSide) -> ClientEvent:
    """Carry bytes between the two until there is an outcome; NEED_DATA if the proxy ends first."""
    loop = asyncio.get_running_loop()
    while True:
        event = machine.next_event()
        if data := machine.data_to_send():
            await loop.sock_sendall(sock, data)
        if event is not NEED_DATA or not await _read_on(sock, machine):
            return event


async def _read_on(sock: socket.socket, machine: AskingSide) -> bool:
    """Take what has come, but nothing that is the destination's; False at the end.

    The first byte is waited for and surely the proxy's. The others are looked at first, and taken
    when the machine has said how many of them it needed: that works on every loop, and costs two
    calls more than reading too much would.
    """
    first = await asyncio.get_running_loop().sock_recv(sock, 1)
    machine.receive_data(first)
    if first and machine.next_event() is NEED_DATA:
        try:
            others = sock.recv(LONGEST_LOOK, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        machine.receive_data(others)
        connected = isinstance(machine.next_event(), Connected)
        foreign = machine.trailing_data() if connected else b""
        sock.recv(len(others) - len(foreign))
    return bool(first)
