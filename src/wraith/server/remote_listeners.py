"""Remote forwards: sockets that the server listens on for its clients.

An address that an earlier session of the same key still holds is taken over when that session no
longer answers: a client that lost its connection gets its forward back before the server would have
noticed by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from wraith.errors import ListenError, WraithError
from wraith.server.options import RemoteForwardScope
from wraith.server.siblings import Vacate
from wraith.streams.listening import Listener, listen
from wraith.streams.relay import relay_pair, reset
from wraith.streams.tasks import TaskSet
from wraith.values.address import HostPort, UnixPath

PROBE_TIMEOUT = 2.0
"""Seconds in which the holder of an address must answer to keep it."""

Address = HostPort | UnixPath


class Holder(Protocol):
    """The session that a listener belongs to."""

    @property
    def fingerprint(self) -> str:
        """Of the key that authenticated it."""
        ...

    async def answers(self, timeout: float) -> bool:
        """Whether it is still there."""
        ...

    async def open_forwarded(
        self, listen: Address, origin: HostPort, protocol: asyncio.Protocol
    ) -> asyncio.Transport:
        """Open a channel for a connection that came in."""
        ...


class ForwardListener:
    """One listening address, held for one session."""

    def __init__(self, holder: Holder, asked: Address, forget: Callable[[], None]) -> None:
        self.holder = holder
        self.asked = asked
        self._forget = forget
        self._listener: Listener | None = None

    def __repr__(self) -> str:
        return f"<ForwardListener open={self._listener is not None}>"

    @property
    def port(self) -> int:
        """The TCP port bound; 0 for a Unix socket."""
        return self._listener.port if self._listener is not None else 0

    def listens(self, listener: Listener) -> None:
        """The socket is bound."""
        self._listener = listener

    def close(self) -> None:
        """Stop listening and give the address free."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._forget()


class RemoteListeners:
    """All remote forwards of one server.

    `elsewhere` asks the processes that serve together with this one to vacate an address.
    """

    def __init__(
        self, scope: RemoteForwardScope, tasks: TaskSet, elsewhere: Vacate | None = None
    ) -> None:
        self.scope = scope
        """Which addresses may be bound from now on."""
        self._tasks = tasks
        self._elsewhere = elsewhere
        self._held: dict[Address, ForwardListener] = {}

    def __repr__(self) -> str:
        return f"<RemoteListeners held={len(self._held)}>"

    async def listen(self, holder: Holder, asked: Address) -> ForwardListener | None:
        """Listen for a session; None where that is not allowed or the address is taken."""
        address = self._bindable(asked)
        if address is None:
            return None
        try:
            return await self._bind(holder, asked, address)
        except ListenError:
            if not await self._is_vacated(holder.fingerprint, address):
                return None
        try:
            return await self._bind(holder, asked, address)
        except ListenError:
            return None

    def _bindable(self, asked: Address) -> Address | None:
        """The address to bind for the one asked for (RFC 4254 section 7.1), within the scope."""
        if self.scope is RemoteForwardScope.OFF:
            return None
        if isinstance(asked, UnixPath):
            return asked
        if self.scope is RemoteForwardScope.LOOPBACK:
            loopback = asked.host in ("127.0.0.1", "::1")
            return HostPort(asked.host if loopback else "localhost", asked.port)
        return HostPort("" if asked.host == "*" else asked.host, asked.port)

    async def _bind(self, holder: Holder, asked: Address, address: Address) -> ForwardListener:
        held = ForwardListener(holder, asked, lambda: self._forget(held))
        listener = await listen(address, lambda: _Incoming(held, self._tasks))
        held.listens(listener)
        if isinstance(asked, HostPort) and asked.port == 0:
            held.asked = HostPort(asked.host, listener.port)
            address = (
                HostPort(address.host, listener.port) if isinstance(address, HostPort) else address
            )
        self._held[address] = held
        return held

    def _forget(self, held: ForwardListener) -> None:
        for address, other in list(self._held.items()):
            if other is held:
                del self._held[address]

    async def _is_vacated(self, fingerprint: str, address: Address) -> bool:
        if address in self._held or self._elsewhere is None:
            return await self.vacate(fingerprint, address)
        return await self._elsewhere(fingerprint, address)

    async def vacate(self, fingerprint: str, address: Address) -> bool:
        """Whether the address was held here by a dead session of this key, and is free now."""
        held = self._held.get(address)
        if held is None or held.holder.fingerprint != fingerprint:
            return False
        if await held.holder.answers(PROBE_TIMEOUT):
            return False
        held.close()
        return True


class _Incoming(asyncio.Protocol):
    """A connection to a remote forward, until its channel is open."""

    def __init__(self, held: ForwardListener, tasks: TaskSet) -> None:
        self._held = held
        self._tasks = tasks
        self._stream: asyncio.Transport
        self._opening: asyncio.Task[None]
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self._stream = transport
        self._opening = self._tasks.spawn(self._join(), "open a forwarded channel")

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True

    async def _join(self) -> None:
        near, far = relay_pair()
        try:
            await self._held.holder.open_forwarded(self._held.asked, self._origin(), far)
        except WraithError:
            if not self._gone:
                reset(self._stream)
            return
        if self._gone or self._stream.is_closing():
            near.connection_lost(ConnectionResetError("the client went away"))
            return
        self._stream.set_protocol(near)
        near.connection_made(self._stream)

    def _origin(self) -> HostPort:
        peername = self._stream.get_extra_info("peername")
        if not isinstance(peername, tuple):
            return HostPort("127.0.0.1", 0)
        return HostPort(str(peername[0]), int(peername[1]))
