"""Certificates by ACME for all workers: the parent obtains, the workers show and answer.

An authority that looks for the answer to a challenge comes to whichever worker has the connection,
so all of them must know it before the authority is told to look.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wraith.server.workers.process import WorkerProcess
from wraith.transports.base import Acceptor
from wraith.transports.tls_acceptor import TlsAcceptor

if TYPE_CHECKING:
    from wraith.transports.acme import AcmeCertificate

PATIENCE = 5.0
"""Seconds for the workers to make what answers a challenge; a few milliseconds do."""


class Challenges:
    """As `Audience`; `workers` are those that take connections, by their numbers."""

    def __init__(self, workers: Mapping[int, WorkerProcess]) -> None:
        self._workers = workers
        self._pending: list[tuple[str, str]] = []
        self._shown: list[set[int]] = []
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Challenges pending={len(self._pending)}>"

    async def challenged(self, identifier: str, key_authorization: str) -> None:
        """As `Audience.challenged`."""
        number, shown = len(self._pending), set[int]()
        self._pending.append((identifier, key_authorization))
        self._shown.append(shown)
        for worker in self._workers.values():
            self._tell(worker, number)
        with contextlib.suppress(TimeoutError):  # the authority may find one that can answer
            async with asyncio.timeout(PATIENCE):
                while self._workers.keys() - shown:
                    self._changed.clear()
                    await self._changed.wait()

    def _tell(self, worker: WorkerProcess, number: int) -> None:
        identifier, key_authorization = self._pending[number]
        worker.link.say(
            "challenged",
            number=number,
            identifier=identifier,
            key_authorization=key_authorization,
        )

    def came(self, worker: WorkerProcess) -> None:
        """A worker takes connections from now on, and must know what is pending."""
        for number in range(len(self._pending)):
            self._tell(worker, number)

    def shown(self, worker: WorkerProcess, said: Mapping[str, Any]) -> None:
        """A worker can answer a challenge."""
        if said["number"] < len(self._shown):
            self._shown[said["number"]].add(worker.number)
        self._changed.set()

    def went(self, worker: WorkerProcess) -> None:
        """A worker is not waited for any more; the next in its place has to be told anew."""
        for shown in self._shown:
            shown.discard(worker.number)
        self._changed.set()

    def settled(self) -> None:
        """As `Audience.settled`."""
        self._pending.clear()
        self._shown.clear()
        for worker in self._workers.values():
            worker.link.say("settled")

    def obtained(self) -> None:
        """As `Audience.obtained`."""
        for worker in self._workers.values():
            worker.link.say("obtained")


def acme_certificate(acceptors: Sequence[Acceptor]) -> AcmeCertificate | None:
    """The one certificate by ACME of a server, if it has one."""
    for acceptor in acceptors:
        if isinstance(acceptor, TlsAcceptor):
            try:
                from wraith.transports.acme import AcmeCertificate
            except ImportError:  # without the extra there can be none
                return None
            if isinstance(acceptor.certificates, AcmeCertificate):
                return acceptor.certificates
    return None
