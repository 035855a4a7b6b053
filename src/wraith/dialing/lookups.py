"""Names resolved for datagrams, apart from everything else.

The system's resolver blocks, may take half a minute, and cannot be stopped. Here each look-up has a
thread of its own that nobody waits for at the end, their number is bounded, in all and for each
owner, and what is too much is refused at once: whoever sends a datagram sends it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Hashable

from wraith.dialing.happy_eyeballs import SockAddr
from wraith.errors import ChannelRefused, Refusal

MOST = 64
"""Look-ups at a time, in all."""

MOST_FOR_ONE = 8
"""Look-ups at a time for one owner, so that nobody takes all the places."""

TIMEOUT = 10.0
"""Seconds after which an answer is of no use any more."""

Addresses = list[tuple[socket.AddressFamily, SockAddr]]


class Lookups:
    """The look-ups under way; used from one event loop."""

    def __init__(
        self, most: int = MOST, most_for_one: int = MOST_FOR_ONE, timeout: float = TIMEOUT
    ) -> None:
        self._most = most
        self._most_for_one = most_for_one
        self._timeout = timeout
        self._running: Counter[Hashable] = Counter()

    def __repr__(self) -> str:
        return f"<Lookups running={self._running.total()}>"

    async def resolve(self, host: str, port: int, owner: Hashable) -> Addresses:
        """The datagram addresses of a host, in the system's order of preference.

        Raises `ChannelRefused`: `RESOURCE_SHORTAGE` where too many are under way, `NAME_UNKNOWN`,
        or `TIMED_OUT`. A look-up that was given up keeps its place until the system has ended it.
        """
        if self._running.total() >= self._most or self._running[owner] >= self._most_for_one:
            raise ChannelRefused(Refusal.RESOURCE_SHORTAGE)
        answer = self._begin(host, port, owner)
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except TimeoutError:
            raise ChannelRefused(Refusal.TIMED_OUT) from None

    def _begin(self, host: str, port: int, owner: Hashable) -> asyncio.Future[Addresses]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Addresses] = loop.create_future()

        def ended(found: Addresses | None) -> None:
            self._running[owner] -= 1
            if not self._running[owner]:
                del self._running[owner]
            if not answer.done():
                if found is None:
                    answer.set_exception(ChannelRefused(Refusal.NAME_UNKNOWN))
                else:
                    answer.set_result(found)

        def work() -> None:
            found = _ask_the_system(host, port)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(ended, found)

        self._running[owner] += 1
        try:
            threading.Thread(target=work, name="resolve a name", daemon=True).start()
        except RuntimeError:  # the system has no thread for us
            ended(None)
        return answer


def _ask_the_system(host: str, port: int) -> Addresses | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return None
    return [(family, address) for family, _, _, _, address in found]
