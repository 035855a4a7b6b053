"""One live session, replaced when it dies; whoever needs a channel gets it from here.

The manager makes a session, waits for its end, asks the retry policy how long to pause, and begins
again, until it is closed or the policy gives up. While there is no session, those who dial wait for
the next one, for a bounded time. How a session is made, how time passes and what hears of each
change are handed in, so that all of this is tested without a network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from wraith.dialing.base import Spliceable, SpliceOwner
from wraith.errors import ChannelRefused, Refusal, SessionLost, WraithError
from wraith.policy.reconnect import Reconnect
from wraith.protocol import capabilities
from wraith.values.address import Destination, TcpDestination

DATAGRAMS = TcpDestination("wraith-udp", 0)
"""The reserved destination that a server's datagrams come from."""


class State(StrEnum):
    """Where the client stands with its session."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"  # for the next attempt
    FAILED = "failed"  # for good
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class StateChange:
    """One change of state, as listeners hear of it.

    `error` is why a session could not be made, or how it ended; `retry_in` is in seconds.
    """

    state: State
    error: WraithError | None = None
    retry_in: float | None = None


class Session(Protocol):
    """What the manager asks of a session."""

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Open a channel."""
        ...

    def splice(self, destination: Destination, owner: SpliceOwner) -> Spliceable | None:
        """Open a channel the short way."""
        ...

    async def capabilities(self) -> frozenset[str]:
        """What the server can do beyond SSH."""
        ...

    async def wait_closed(self) -> SessionLost:
        """Wait for the end."""
        ...

    async def close(self) -> None:
        """End it."""
        ...

    def probe(self) -> None:
        """Ask the server for a sign of life."""
        ...


OpenSession = Callable[[], Awaitable[Session]]


class ChannelManager:
    """Owns the session; a `Dialer` whose dials outlive any one session.

    `wait` is how long, in seconds, a dial waits for a session that is not there. `on_session` is
    awaited with each new session before anybody may dial through it. `on_change` is called at each
    change of state.
    """

    def __init__(
        self,
        open_session: OpenSession,
        *,
        wait: float,
        reconnect: Reconnect,
        on_session: Callable[[Session], Awaitable[None]],
        on_change: Callable[[StateChange], None],
    ) -> None:
        self._open_session = open_session
        self._wait = wait
        self._reconnect = reconnect
        self._on_session = on_session
        self._on_change = on_change
        self._session: Session | None = None
        self._available = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ever_connected = False
        self.state = State.CONNECTING
        self.error: WraithError | None = None

    def __repr__(self) -> str:
        return f"<ChannelManager {self.state}>"

    @property
    def current(self) -> Session | None:
        """The live session, if there is one."""
        return self._session

    # The life of sessions

    async def run(self, *, retry_first: bool) -> None:
        """Keep a session alive until cancelled. Raises the error that ends it for good.

        With `retry_first` off, any failure of the first attempt is for good.
        """
        while True:
            ended: WraithError
            try:
                ended, lived = await self._one_session()
                self._reconnect.session_ended(lived)
            except WraithError as error:
                ended = error
            delay = self._next_delay(ended, retry_first)
            if delay is None:
                self._fail(ended)
                raise ended
            self._change(State.WAITING, ended, delay)
            await self._pause(delay)

    async def _one_session(self) -> tuple[SessionLost, float]:
        """One attempt, and the life of the session if it succeeds; how it ended and how long."""
        self._change(State.CONNECTING)
        loop = asyncio.get_running_loop()
        session = await self._open_session()
        began = loop.time()
        try:
            await self._on_session(session)
            self._ever_connected = True
            self._session = session
            self._available.set()
            self._change(State.CONNECTED)
            return await session.wait_closed(), loop.time() - began
        finally:
            self._available.clear()
            self._session = None
            await session.close()

    def _next_delay(self, error: WraithError, retry_first: bool) -> float | None:
        first = not self._ever_connected
        if first and not retry_first:
            return None
        return self._reconnect.next_delay(error, first=first)

    def _fail(self, error: WraithError) -> None:
        self.error = error
        self._change(State.FAILED, error)
        self._available.set()  # whoever waits shall hear of it now

    def closed(self) -> None:
        """Nobody runs the manager any more: whoever waits for a session is told so."""
        self.error = self.error or SessionLost("the client was closed")
        self._available.set()
        self._change(State.CLOSED)

    async def _pause(self, delay: float) -> None:
        self._hurry.clear()
        try:
            async with asyncio.timeout(delay):
                await self._hurry.wait()
        except TimeoutError:
            pass

    def hurry(self) -> None:
        """Try again now, or ask a live session for a sign of life now."""
        self._hurry.set()
        if self._session is not None:
            self._session.probe()

    def _change(
        self, state: State, error: WraithError | None = None, retry_in: float | None = None
    ) -> None:
        self.state = state
        self._on_change(StateChange(state, error, retry_in))

    # Channels

    async def session(self) -> Session:
        """The live session, awaited for at most `wait` seconds. Raises `SessionLost`."""
        try:
            async with asyncio.timeout(self._wait):
                while self._session is None:
                    if self.error is not None:
                        raise SessionLost(f"there is no session: {self.error.message}")
                    await self._available.wait()
                return self._session
        except TimeoutError:
            raise SessionLost(f"no session within {self._wait:g} s") from None

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        """As `Dialer.dial`, through the live session or the next one."""
        session = await self.session()
        return await session.dial(destination, protocol)

    async def open_datagrams(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """A channel for datagrams, in the frames of `protocol.datagrams`.

        Raises as `dial`, and `ChannelRefused` as `UNSUPPORTED` where the server has no datagrams.
        """
        session = await self.session()
        try:
            async with asyncio.timeout(self._wait):
                offered = await session.capabilities()
        except TimeoutError:
            offered = frozenset()
        if capabilities.UDP not in offered:
            raise ChannelRefused(Refusal.UNSUPPORTED)
        return await session.dial(DATAGRAMS, protocol)

    def splice(self, destination: Destination, owner: SpliceOwner) -> Spliceable | None:
        """As `Splicer.splice`, through the live session if there is one."""
        return self._session.splice(destination, owner) if self._session is not None else None
