"""Dialing for clients of a server whose way out is an upstream proxy."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from wraith.dialing.base import Attempt, Outcome
from wraith.dialing.short_cut import TaskAttempt
from wraith.dialing.via_proxy import ViaProxy
from wraith.errors import ChannelRefused, ProxyError, Refusal
from wraith.streams.socket_stream import open_socket_stream
from wraith.values.address import Destination, TcpDestination

Note = Callable[[ProxyError | None], None]
"""Told how the proxy itself did, for the operator: its fault, or None when it did its work."""


class ProxiedDialer:
    """A `SocketDialer` that leaves resolving and connecting to a proxy.

    Whoever asks has been approved already: no address is known here that could be. `timeout` is in
    seconds. A fault of the proxy goes to `note`, and the client is told its `reason` only.
    """

    def __init__(self, via: ViaProxy, timeout: float, note: Note) -> None:
        self._via = via
        self._timeout = timeout
        self._note = note

    def __repr__(self) -> str:
        return f"<ProxiedDialer {self._via.proxy} timeout={self._timeout:g}>"

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        """As `Dialer.dial`."""
        sock = await self.connect(destination)
        try:
            return await open_socket_stream(sock, protocol)
        except BaseException:
            sock.close()
            raise

    async def connect(self, destination: Destination) -> socket.socket:
        """As `SocketDialer.connect`; a Unix path is refused, as it is not behind any proxy."""
        if not isinstance(destination, TcpDestination):
            raise ChannelRefused(Refusal.PROHIBITED)
        try:
            sock = await self._via.connect(destination, self._timeout)
        except ProxyError as error:
            self._note(error)
            raise ChannelRefused(error.reason) from None
        except ChannelRefused as error:
            if error.reason is not Refusal.TIMED_OUT:  # then nobody knows whose silence it was
                self._note(None)
            raise
        self._note(None)
        return sock

    def connect_soon(self, destination: Destination, outcome: Outcome) -> Attempt | None:
        """As `SocketDialer.connect_soon`; it always takes a task, as it takes a conversation."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self.connect(destination), name="dial through a proxy")
        return TaskAttempt(task, outcome)
