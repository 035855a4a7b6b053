"""Where connections are given to workers, and where workers say what became of them.

Everything that is server-wide is decided here, in the parent: who gets a place, who is penalised,
who holds which connection, what the event bus carries from one worker to another. What a worker
says is believed about its own connections only.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wraith.policy.penalties import Offence
from wraith.policy.workers import Shares
from wraith.protocol.worker_link import Copy, Message, Said
from wraith.server.admissions import LocalAdmissions
from wraith.server.counts import Counts
from wraith.server.options import ServeOptions
from wraith.server.workers.challenges import Challenges
from wraith.server.workers.exchange import Exchange
from wraith.server.workers.process import WorkerProcess
from wraith.server.workers.sockets import Handing
from wraith.server.workers.tally import Report, Tally
from wraith.transports.base import PeerInfo, ProtocolFactory
from wraith.transports.proxy_header import plain_address

MAX_PARKED = 1024
"""Connections that wait while no worker is there; as many as the system keeps for a port."""

STALE = 3.0
"""Seconds without a word, which workers say every second, after which others are preferred."""


@dataclass(slots=True)
class _Asked:
    """The others have been asked to vacate an address, and some have not answered."""

    asker: WorkerProcess
    number: int
    waiting: set[int]


class Desk:
    """The books of the parent; `workers` are those that take connections, by their numbers."""

    def __init__(self, options: ServeOptions) -> None:
        counts = Counts()
        self.admissions = LocalAdmissions(options, counts)
        self.exchange = Exchange(options.bus_backend())
        self.tally = Tally(counts)
        self.workers: dict[int, WorkerProcess] = {}
        self.challenges = Challenges(self.workers)
        self._shares = Shares()
        self._addresses: dict[int, str] = {}
        self._parked: deque[tuple[socket.socket, Mapping[str, Any]]] = deque()
        self._asked: dict[int, _Asked] = {}
        self._questions = 0
        self._heard: dict[str, Callable[[WorkerProcess, Mapping[str, Any]], None]] = {
            "place": self._place,
            "authenticated": self._authenticated,
            "end": self._end,
            "report": self._report,
            "subscribe": lambda worker, said: self.exchange.subscribe(worker.link, said["topic"]),
            "unsubscribe": lambda worker, said: self.exchange.unsubscribe(
                worker.link, said["topic"]
            ),
            "vacate": self._vacate,
            "vacated": self._vacated,
            "shown": self.challenges.shown,
        }

    def __repr__(self) -> str:
        return f"<Desk workers={len(self.workers)} {self._shares} parked={len(self._parked)}>"

    # Giving

    def handing(self, transport: str, *, hidden: bool) -> ProtocolFactory:
        """The first protocol for streams of a transport; who is `hidden` gives out no places yet.

        There a connection may be a stranger's, whom a web server would not turn away either.
        """

        def hand(sock: socket.socket, peer: tuple[str, int]) -> None:
            token = None
            if not hidden:
                token = self._begin(PeerInfo(transport, plain_address(peer[0])))
                if token is None:
                    sock.close()
                    return
            self._give(sock, {"token": token, "transport": transport, "peer": peer})

        return lambda: Handing(hand)

    def _begin(self, info: PeerInfo) -> int | None:
        token = self.admissions.begin(info)
        if token is not None:
            self._addresses[token] = info.address
        return token

    def _give(self, sock: socket.socket, note: Mapping[str, Any]) -> None:
        number = self._shares.choose(self._lively() or self.workers)
        if number is not None:
            if note["token"] is not None:
                self._shares.give(note["token"], number)
            self.workers[number].giving.give(sock, note)
        elif len(self._parked) < MAX_PARKED:
            self._parked.append((sock, note))
        else:
            sock.close()
            self.not_given(note)

    def _lively(self) -> list[int]:
        """The workers that have said something of late: one that is stuck would let wait."""
        late = asyncio.get_running_loop().time() - STALE
        return [number for number, worker in self.workers.items() if worker.heard > late]

    def not_given(self, note: Mapping[str, Any]) -> None:
        """A socket could not be given away, and is closed."""
        if note["token"] is not None:
            self._give_back(note["token"], None)

    def _give_back(self, token: int, offence: Offence | None) -> None:
        self._shares.take_back(token)
        self.admissions.end(token, self._addresses.pop(token, ""), offence)

    # Workers come and go

    def came(self, worker: WorkerProcess) -> None:
        """A worker takes connections from now on."""
        self.workers[worker.number] = worker
        self.challenges.came(worker)
        while self._parked:
            self._give(*self._parked.popleft())

    def leaves(self, worker: WorkerProcess) -> None:
        """A worker takes no more connections; those that it has live on."""
        if self.workers.get(worker.number) is worker:
            del self.workers[worker.number]
            self.challenges.went(worker)

    def went(self, worker: WorkerProcess) -> None:
        """A worker is no more: what it held is given back, what it was asked stays unanswered."""
        self.leaves(worker)
        self.exchange.forget(worker.link)
        self.tally.ended(worker.number)
        for token in self._shares.tokens_of(worker.number):
            self._give_back(token, None)
        for question in list(self._asked):
            self._answered(question, worker.number, done=False)

    async def close(self) -> None:
        """Give nothing more, and leave the bus."""
        while self._parked:
            self._parked.popleft()[0].close()
        await self.exchange.close()

    # What workers say

    def hear(self, worker: WorkerProcess, message: Message) -> None:
        """A message; one that makes no sense raises, which ends the link and so the worker."""
        worker.heard = asyncio.get_running_loop().time()
        if isinstance(message, Copy):
            self.exchange.publish(worker.link, message.topic, message.body)
        else:
            self._hear_said(worker, message)

    def _hear_said(self, worker: WorkerProcess, said: Said) -> None:
        self._heard[said.op](worker, said.fields)

    def _place(self, worker: WorkerProcess, said: Mapping[str, Any]) -> None:
        """One who was hidden until now asks for a place."""
        token = self._begin(PeerInfo(said["transport"], said["address"]))
        if token is not None:
            self._shares.give(token, worker.number)
        worker.link.say("answer", number=said["number"], token=token)

    def _authenticated(self, worker: WorkerProcess, said: Mapping[str, Any]) -> None:
        if self._shares.holds(said["token"], worker.number):
            self.admissions.authenticated(said["token"])

    def _end(self, worker: WorkerProcess, said: Mapping[str, Any]) -> None:
        if self._shares.holds(said["token"], worker.number):
            offence = said["offence"]
            self._give_back(said["token"], Offence(offence) if offence is not None else None)

    def _report(self, worker: WorkerProcess, said: Mapping[str, Any]) -> None:
        self.tally.heard(worker.number, Report.read(said))

    # Remote forwards that a dead session still holds at another worker

    def _vacate(self, worker: WorkerProcess, said: Mapping[str, Any]) -> None:
        self._questions += 1
        others = [other for other in self.workers.values() if other is not worker]
        asked = _Asked(worker, said["number"], {other.number for other in others})
        self._asked[self._questions] = asked
        for other in others:
            other.link.say(
                "vacate",
                number=self._questions,
                fingerprint=said["fingerprint"],
                address=said["address"],
            )
        if not others:
            self._settle(self._questions, done=False)

    def _vacated(self, worker: WorkerProcess, said: Mapping[str, Any]) -> None:
        self._answered(said["number"], worker.number, done=said["done"])

    def _answered(self, question: int, number: int, *, done: bool) -> None:
        asked = self._asked.get(question)
        if asked is None or number not in asked.waiting:
            return
        asked.waiting.discard(number)
        if done or not asked.waiting:
            self._settle(question, done=done)

    def _settle(self, question: int, *, done: bool) -> None:
        asked = self._asked.pop(question)
        asked.asker.link.say("answer", number=asked.number, done=done)
