"""Remote forwards as desired state: asked for again with every session, and after a refusal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from wraith.client.local_port import LocalPortConnection
from wraith.dialing.base import Dialer
from wraith.errors import ForwardError, SessionLost, WraithError
from wraith.streams.log_line import log_event
from wraith.streams.relay import relay_pair
from wraith.streams.tally import Tally
from wraith.streams.tasks import TaskSet
from wraith.values.address import HostPort, UnixPath
from wraith.values.forward_spec import RemoteForward

_log = logging.getLogger("wraith.client")

AcceptChannel = Callable[[], Awaitable[asyncio.Protocol]]


class ListeningSession(Protocol):
    """What is asked of a session here."""

    async def listen(self, address: HostPort | UnixPath, accept: AcceptChannel) -> int:
        """Ask the server to listen."""
        ...

    async def cancel_listen(self, address: HostPort | UnixPath) -> None:
        """Ask the server to stop."""
        ...


class Forward:
    """One remote forward that is wanted, and where it stands."""

    def __init__(self, spec: RemoteForward) -> None:
        self.spec = spec
        self.tally = Tally()
        self.bound: HostPort | UnixPath | None = None
        self.asked: HostPort | UnixPath = spec.listen

    def __repr__(self) -> str:
        return f"<Forward listen={self.spec.listen} bound={self.bound}>"


class RemoteForwards:
    """The remote forwards of one client.

    Connections that come in are dialled from this machine. `delays` makes the pauses, in seconds,
    between attempts at a forward that was refused.
    """

    def __init__(
        self, dialer: Dialer, tasks: TaskSet, delays: Callable[[], Iterator[float]]
    ) -> None:
        self._dialer = dialer
        self._tasks = tasks
        self._delays = delays
        self._wanted: list[Forward] = []
        self._session: ListeningSession | None = None

    def __repr__(self) -> str:
        return f"<RemoteForwards wanted={len(self._wanted)}>"

    @property
    def wanted(self) -> tuple[Forward, ...]:
        """The forwards, in the order in which they were asked for."""
        return tuple(self._wanted)

    @property
    def bound(self) -> list[HostPort | UnixPath | None]:
        """Where each forward listens now, in the order in which they were asked for."""
        return [forward.bound for forward in self._wanted]

    def want(self, spec: RemoteForward) -> Forward:
        """Add a forward; it is asked for with the next session."""
        forward = Forward(spec)
        self._wanted.append(forward)
        return forward

    async def restore(self, session: ListeningSession, *, strict: bool = False) -> None:
        """Ask a new session for all of them.

        With `strict`, the first refusal is raised as `ForwardError`; else it is reported and tried
        again while the session lives.
        """
        self._session = session
        for forward in self._wanted:
            forward.bound = None
        for forward in list(self._wanted):
            try:
                await self.ask(session, forward)
            except ForwardError as error:
                if strict:
                    raise
                log_event(
                    _log,
                    logging.WARNING,
                    "remote forward refused",
                    listen=forward.spec.listen,
                    reason=error.message,
                )
                self._tasks.spawn(self._ask_again(session, forward), "ask for a forward again")

    async def ask(self, session: ListeningSession, forward: Forward) -> None:
        """Ask for one forward. Raises `ForwardError` or `SessionLost`.

        A port that the server chose once is asked for by number from then on, so that it stays.
        """
        try:
            port = await session.listen(forward.asked, lambda: self._accept(forward))
        except ForwardError:
            if forward.asked == forward.spec.listen:
                raise
            forward.asked = forward.spec.listen
            port = await session.listen(forward.asked, lambda: self._accept(forward))
        listen = forward.spec.listen
        if isinstance(listen, HostPort):
            listen = HostPort(listen.host, port or listen.port)
        forward.bound = forward.asked = listen
        log_event(_log, logging.INFO, "remote forward listens", address=listen)
        if forward not in self._wanted:  # given up while the server was asked
            await session.cancel_listen(listen)

    async def _ask_again(self, session: ListeningSession, forward: Forward) -> None:
        for delay in self._delays():
            await asyncio.sleep(delay)
            if self._session is not session or forward not in self._wanted:
                return
            try:
                await self.ask(session, forward)
            except ForwardError:
                continue
            except WraithError:
                return
            return

    async def start(self, session: ListeningSession, spec: RemoteForward) -> Forward:
        """Add a forward and ask for it now. Raises `ForwardError`, and then it is not kept."""
        forward = self.want(spec)
        try:
            await self.ask(session, forward)
        except BaseException:
            self._wanted.remove(forward)
            raise
        return forward

    async def cancel(self, forward: Forward) -> None:
        """Want a forward no more, and ask the server to stop listening."""
        if forward not in self._wanted:
            return
        self._wanted.remove(forward)
        if self._session is not None and forward.bound is not None:
            with contextlib.suppress(SessionLost):  # and with the session its listeners
                await self._session.cancel_listen(forward.bound)

    async def _accept(self, forward: Forward) -> asyncio.Protocol:
        """A connection has come in on the server's side."""
        target = forward.spec.target
        if target is None:
            return LocalPortConnection(self._dialer, self._tasks, tally=forward.tally)
        near, far = relay_pair()
        await self._dialer.dial(target, far)
        near.count_in(forward.tally)
        return near
