"""A worker's side of what is server-wide: it tells the parent, and asks it.

No answer within the deadline is a no: the parent keeps the books, and without it nobody is let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from wraith.policy.penalties import Offence
from wraith.server.options import ServeOptions
from wraith.server.workers.link import Link
from wraith.streams.tasks import TaskSet
from wraith.transports.base import PeerInfo
from wraith.values.address import HostPort, UnixPath

PATIENCE = 5.0
"""Seconds for an answer of the parent; for a vacated address two of them are another's."""


class Places:
    """As `Admissions`, for a server whose books the parent keeps."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._questions = 0
        self._asked: dict[int, asyncio.Future[Mapping[str, Any]]] = {}

    def __repr__(self) -> str:
        return f"<Places asked={len(self._asked)}>"

    def begin(self, info: PeerInfo) -> int | None:
        """As `Admissions.begin`; nobody comes here who was not given a place before."""
        return None

    def authenticated(self, token: int) -> None:
        """As `Admissions.authenticated`."""
        self._link.say("authenticated", token=token)

    def end(self, token: int, address: str, offence: Offence | None) -> None:
        """As `Admissions.end`; the parent knows the address."""
        word = offence.value if offence is not None else None
        self._link.say("end", token=token, offence=word)

    def reload(self, options: ServeOptions) -> None:
        """As `Admissions.reload`; the parent has them already."""

    async def ask(self, info: PeerInfo) -> int | None:
        """A place for one who has come without; None where there is none."""
        answer = await self._ask("place", transport=info.transport, address=info.address)
        return answer.get("token")

    async def vacate(self, fingerprint: str, address: HostPort | UnixPath) -> bool:
        """As `siblings.Vacate`."""
        where = [address.path] if isinstance(address, UnixPath) else [address.host, address.port]
        answer = await self._ask("vacate", fingerprint=fingerprint, address=where)
        return bool(answer.get("done"))

    async def _ask(self, op: str, **fields: Any) -> Mapping[str, Any]:
        self._questions += 1
        number = self._questions
        asked: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        self._link.say(op, number=number, **fields)
        try:
            async with asyncio.timeout(PATIENCE):
                return await asked
        except TimeoutError:
            return {}
        finally:
            del self._asked[number]

    def answered(self, said: Mapping[str, Any]) -> None:
        """The parent has answered a question; one that nobody waits for any more holds nothing."""
        asked = self._asked.get(said["number"])
        if asked is not None and not asked.done():
            asked.set_result(said)
        elif said.get("token") is not None:
            self.end(said["token"], "", None)


def address_from(where: list[Any]) -> HostPort | UnixPath:
    """The address of a remote forward, as `Places.vacate` wrote it."""
    return UnixPath(where[0]) if len(where) == 1 else HostPort(where[0], where[1])


class WaitingRoom(asyncio.Protocol):
    """Stands on a stream until there is a place for it, and `admit` makes what comes after it."""

    def __init__(
        self,
        info: PeerInfo,
        places: Places,
        admit: Callable[[PeerInfo, int], asyncio.Protocol | None],
        tasks: TaskSet,
    ) -> None:
        self._info = info
        self._places = places
        self._admit = admit
        self._tasks = tasks
        self._stream: asyncio.Transport
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a place; what comes meanwhile is for the next protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport
        transport.pause_reading()
        self._tasks.spawn(self._wait(), "wait for a place")

    async def _wait(self) -> None:
        token = await self._places.ask(self._info)
        if token is None:
            self._stream.abort()
            return
        if self._gone:
            self._places.end(token, self._info.address, None)
            return
        protocol = self._admit(self._info, token)
        if protocol is None:
            self._stream.abort()
            return
        self._stream.set_protocol(protocol)
        protocol.connection_made(self._stream)
        self._stream.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone before there was a place; one that comes now is given back."""
        self._gone = True
