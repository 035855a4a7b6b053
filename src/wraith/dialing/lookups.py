"""Names resolved apart from everything else.

The system's resolver blocks, may take half a minute, and cannot be stopped. In the loop's own
threads, of which there are six on a small machine, a few names that hang would hold up all others,
and the program's end. Here each look-up has a thread of its own that nobody waits for at the end.
Their number is bounded, in all and for each owner. A connection waits for its turn, as long as its
dialer lets it; a datagram is refused at once: whoever sends it sends it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Hashable

from wraith.dialing.happy_eyeballs import SockAddr
from wraith.dialing.reasons import refusal_for
from wraith.errors import ChannelRefused, Refusal

MOST = 64
"""Look-ups at a time, in all."""

MOST_FOR_ONE = 8
"""Look-ups at a time for one owner, so that nobody takes all the places."""

TIMEOUT = 10.0
"""Seconds after which an answer is of no use any more."""

Addresses = list[tuple[socket.AddressFamily, SockAddr]]


class _Places(asyncio.Semaphore):
    """The places of one owner; `users` are those that have one or wait."""

    users = 0


class Lookups:
    """The look-ups under way; used from one event loop."""

    def __init__(
        self, most: int = MOST, most_for_one: int = MOST_FOR_ONE, timeout: float = TIMEOUT
    ) -> None:
        self._places = asyncio.Semaphore(most)
        self._most_for_one = most_for_one
        self._timeout = timeout
        self._owners: dict[Hashable, _Places] = {}
        self._running = 0

    def __repr__(self) -> str:
        return f"<Lookups running={self._running}>"

    async def resolve(self, host: str, port: int, owner: Hashable) -> Addresses:
        """The datagram addresses of a host, in the system's order of preference.

        Raises `ChannelRefused`: `RESOURCE_SHORTAGE` where too many are under way, `NAME_UNKNOWN`
        or `TIMED_OUT`. A look-up that was given up keeps its place until the system has ended it.
        """
        own = self._owners.get(owner)
        if self._places.locked() or (own is not None and own.locked()):
            raise ChannelRefused(Refusal.RESOURCE_SHORTAGE)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._resolve(host, port, owner, socket.SOCK_DGRAM)
        except TimeoutError:
            raise ChannelRefused(Refusal.TIMED_OUT) from None
        except OSError as error:
            raise ChannelRefused(refusal_for(error)) from None

    async def resolve_stream(self, host: str, port: int, owner: Hashable) -> Addresses:
        """The stream addresses of a host, in the system's order, when it is the owner's turn.

        Raises `socket.gaierror`, also for a name that cannot be encoded. The time is the caller's
        to limit.
        """
        return await self._resolve(host, port, owner, socket.SOCK_STREAM)

    async def _resolve(
        self, host: str, port: int, owner: Hashable, kind: socket.SocketKind
    ) -> Addresses:
        own = self._owners.setdefault(owner, _Places(self._most_for_one))
        own.users += 1
        try:
            await own.acquire()
            try:
                await self._places.acquire()
            except BaseException:
                own.release()
                raise
        except BaseException:
            self._leave(owner)
            raise
        return await self._begin(lambda: _ask_the_system(host, port, kind), owner)

    def _leave(self, owner: Hashable) -> None:
        own = self._owners[owner]
        own.users -= 1
        if not own.users:
            del self._owners[owner]

    def _begin(
        self, ask: Callable[[], Addresses | OSError], owner: Hashable
    ) -> asyncio.Future[Addresses]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Addresses] = loop.create_future()

        def ended(found: Addresses | OSError) -> None:
            self._running -= 1
            self._places.release()
            self._owners[owner].release()
            self._leave(owner)
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def work() -> None:
            found = ask()
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(ended, found)

        self._running += 1
        try:
            threading.Thread(target=work, name="resolve a name", daemon=True).start()
        except RuntimeError:
            ended(OSError(errno.EAGAIN, "the system has no thread for us"))
        return answer


def _ask_the_system(host: str, port: int, kind: socket.SocketKind) -> Addresses | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except UnicodeError:
        return socket.gaierror(socket.EAI_NONAME, "the name cannot be encoded")
    except OSError as error:
        return error
    return [(family, address) for family, _, _, _, address in found]
