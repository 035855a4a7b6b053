"""The parent: it listens, starts the workers, and starts another for each that dies."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from wraith.errors import UsageError, WraithError
from wraith.policy.workers import Restarts
from wraith.protocol.worker_link import Message, Said
from wraith.server.metrics import Metrics, start_metrics
from wraith.server.options import ServeOptions
from wraith.server.serve import DRAIN, GOODBYE, host_key_of
from wraith.server.workers.challenges import acme_certificate
from wraith.server.workers.desk import Desk
from wraith.server.workers.orders import check_shareable, write_orders
from wraith.server.workers.process import WorkerProcess
from wraith.ssh.keys import PrivateKey
from wraith.streams.log_line import log_event
from wraith.streams.tasks import TaskSet
from wraith.transports.base import Acceptor, SharedAcceptor
from wraith.values.address import HostPort

_log = logging.getLogger("wraith.server")

START_LIMIT = 60.0
"""Seconds for a worker to take connections; an interpreter starts slowly on a busy machine."""

LEAVE_LIMIT = DRAIN + GOODBYE + 1.5
"""Seconds for a worker to end once it was told to."""

PULSE = 1.0
"""Seconds between two reports of a worker."""

SILENCE = 30.0
"""Seconds without a word after which a worker is ended: it serves nobody any more."""

NOT_RELOADED = ("listen", "key", "stealth", "stealth_upstream", "stealth_secret")


class Supervisor:
    """A server of `count` processes; an async context manager, inside of which it accepts.

    `log` is the level and the format of the workers' logs.
    """

    def __init__(self, options: ServeOptions, count: int, log: tuple[str, str]) -> None:
        check_shareable(options)
        self.options = options
        self.host_key_created = False
        self._count = count
        self._log = log
        self._desk = Desk(options)
        self._tasks = TaskSet("workers")
        self._workers: set[WorkerProcess] = set()
        self._acceptors: list[Acceptor] = []
        self._metrics: Metrics | None = None
        self._host_key: PrivateKey
        self._orders: Mapping[str, Any]
        self._closing = False

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open" if self._acceptors else "new"
        return f"<Supervisor {state} {' '.join(self.listen_addresses)} {self._desk}>"

    @property
    def listen_addresses(self) -> tuple[str, ...]:
        """As `Server.listen_addresses`."""
        return tuple(url for acceptor in self._acceptors for url in acceptor.addresses)

    @property
    def invitations(self) -> tuple[tuple[str, ...], ...]:
        """As `Server.invitations`."""
        invitations = (acceptor.invitation for acceptor in self._acceptors)
        return tuple(options for options in invitations if options)

    @property
    def notes(self) -> dict[str, str]:
        """As `Server.notes`."""
        return {name: text for item in self._acceptors for name, text in item.notes.items()}

    @property
    def host_key_fingerprint(self) -> str:
        """As `Server.host_key_fingerprint`."""
        return self._host_key.public.fingerprint

    @property
    def metrics_address(self) -> HostPort | None:
        """As `Server.metrics_address`."""
        return self._metrics.address if self._metrics is not None else None

    # Life

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _start(self) -> None:
        self._host_key, self.host_key_created = host_key_of(self.options)
        shared = _shared(self.options.acceptors())
        certificate = acme_certificate(shared)
        if certificate is not None:
            certificate.audience = self._desk.challenges
        self._acceptors += shared
        if certificate is None:
            await _prepare(shared)
        self._transports = tuple(dict.fromkeys(acceptor.transport for acceptor in shared))
        self._orders = write_orders(self.options, self._transports, self._host_key)
        self._desk.exchange.start()
        metrics_address = self.options.metrics_address()
        if metrics_address is not None:
            self._metrics = await start_metrics(self._desk.tally, metrics_address)
        await self._start_workers()
        hidden = self.options.stealth_settings() is not None
        for acceptor in shared:
            first = self._desk.handing(
                acceptor.transport, hidden=hidden and acceptor.transport == "tls"
            )
            await acceptor.listen(first)
        if certificate is not None:  # its authority comes to look, and must find somebody
            await _prepare(shared)
        self._tasks.spawn(self._feel_pulses(), "feel their pulses")

    async def _start_workers(self) -> None:
        """All of them, or none: what keeps one from starting would keep the others as well."""
        started = []
        for number in range(1, self._count + 1):
            worker = await self._launch(number)
            self._tasks.spawn(self._keep(worker), f"keep {number}")
            started.append(asyncio.shield(worker.started))
        try:
            async with asyncio.timeout(START_LIMIT):
                await asyncio.gather(*started)
        except TimeoutError:
            raise WraithError(f"the workers were not ready within {START_LIMIT:g} s") from None
        finally:
            for waiting in started:
                waiting.add_done_callback(_look_at)

    async def close(self) -> None:
        """Stop accepting, and have every worker drain and say goodbye."""
        self._closing = True
        for acceptor in self._acceptors:
            await acceptor.close()
        await self._tasks.close()
        workers = list(self._workers)
        for worker in workers:
            self._part(worker)
        if workers:
            await asyncio.wait([worker.gone for worker in workers], timeout=LEAVE_LIMIT)
        for worker in workers:
            if not worker.gone.done():
                worker.kill()
            await self._bury(worker)
        if self._metrics is not None:
            self._metrics.close()
        await self._desk.close()
        for acceptor in self._acceptors:
            await acceptor.wait_closed()

    def reload(self, options: ServeOptions | None = None) -> None:
        """As `Server.reload`, for all workers, and for those that will take their places."""
        if options is not None:
            self._orders = {
                **write_orders(options, self._transports, self._host_key),
                **self._fixed,
            }
            self.options = dataclasses.replace(options, listen=self.options.listen)
            self._desk.admissions.reload(options)
        for acceptor in self._acceptors:
            acceptor.reload(self.options)
        for worker in self._workers:
            worker.link.say("reload", orders=self._orders if options is not None else None)

    @property
    def _fixed(self) -> dict[str, Any]:
        """What a reload does not change, as the workers were told at first."""
        return {name: self._orders[name] for name in NOT_RELOADED if name in self._orders}

    # Workers

    async def _launch(self, number: int) -> WorkerProcess:
        worker = WorkerProcess(number)
        await worker.launch(
            functools.partial(self._hear, worker),
            lambda dropped: worker.link.say("missed", seconds=0.0, dropped=dropped),
            self._desk.not_given,
        )
        self._workers.add(worker)
        level, style = self._log
        worker.link.say(
            "begin",
            level=level,
            style=style,
            orders=self._orders,
            mark=self._desk.exchange.new_mark(),
            counts_channels=self._metrics is not None,
        )
        return worker

    def _hear(self, worker: WorkerProcess, message: Message) -> None:
        if isinstance(message, Said) and message.op in ("ready", "failed", "leaving"):
            self._hear_of_life(worker, message)
        else:
            self._desk.hear(worker, message)

    def _hear_of_life(self, worker: WorkerProcess, said: Said) -> None:
        if said.op == "ready" and not worker.started.done() and not worker.leaving:
            worker.started.set_result(None)
            self._desk.came(worker)
            log_event(_log, logging.INFO, "worker ready", worker=worker.number, pid=worker.pid)
        elif said.op == "failed" and not worker.started.done():
            kind = UsageError if said.fields["usage"] else WraithError
            error = kind(said.fields["message"], hint=said.fields["hint"])
            worker.started.set_exception(error)
            worker.link.say("leave")
        elif said.op == "leaving":
            self._part(worker)

    def _part(self, worker: WorkerProcess) -> None:
        """A worker is to end: it gets no more connections, and is told to drain."""
        worker.leaving = True
        self._desk.leaves(worker)
        worker.link.say("leave")

    async def _keep(self, worker: WorkerProcess) -> None:
        """See to it that there is a worker in this place."""
        loop, restarts = asyncio.get_running_loop(), Restarts()
        while True:
            began = loop.time()
            await self._attend(worker)
            how, reason = await self._bury(worker), _reason(worker)
            if self._closing:
                return
            delay = restarts.delay(loop.time() - began, asked=worker.leaving)
            level = logging.INFO if worker.leaving else logging.ERROR
            facts = {"worker": worker.number, "pid": worker.pid, "exit": how, **reason}
            log_event(_log, level, "worker ended", **facts, restart_in=f"{delay:g}")
            worker = await self._launch_after(worker.number, delay)

    async def _attend(self, worker: WorkerProcess) -> None:
        """Wait until a worker is gone, or must be."""
        await asyncio.wait(
            [worker.started, worker.gone],
            timeout=START_LIMIT,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not worker.started.done():
            worker.kill()
        await asyncio.wait([worker.gone])

    async def _launch_after(self, number: int, delay: float) -> WorkerProcess:
        """Start a worker, as soon as the system has room for one."""
        while True:
            await asyncio.sleep(delay)
            try:
                return await self._launch(number)
            except OSError as error:
                delay = SILENCE
                reason = error.strerror or "no resources"
                log_event(_log, logging.ERROR, "worker not started", worker=number, reason=reason)

    async def _bury(self, worker: WorkerProcess) -> str:
        """A worker is gone: reap its process, and give back what it held; how it ended."""
        self._workers.discard(worker)
        how = await worker.reap()
        self._desk.went(worker)
        if not worker.started.done():
            worker.started.set_exception(
                WraithError(f"worker {worker.number} ended before it was ready ({how})")
            )
        return how

    async def _feel_pulses(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PULSE)
            for worker in list(self._desk.workers.values()):
                if loop.time() - worker.heard > SILENCE:
                    log_event(_log, logging.ERROR, "worker does not answer", worker=worker.number)
                    worker.kill()
                else:
                    worker.link.say("ping")


async def _prepare(acceptors: list[SharedAcceptor]) -> None:
    for acceptor in acceptors:
        await acceptor.prepare()


def _shared(acceptors: list[Acceptor]) -> list[SharedAcceptor]:
    """Those of a server, if all can be shared. Raises `UsageError`."""
    shared: list[SharedAcceptor] = [
        acceptor for acceptor in acceptors if isinstance(acceptor, SharedAcceptor)
    ]
    if len(shared) < len(acceptors):
        raise UsageError(
            "a listener of this transport cannot be shared by several workers",
            hint="serve it by a process of its own, without --workers",
        )
    return shared


def _reason(worker: WorkerProcess) -> dict[str, str]:
    """What kept it from starting, if anything did."""
    error = worker.started.exception()
    return {"reason": str(error)} if error is not None else {}


def _look_at(future: asyncio.Future[None]) -> None:
    """An error that nobody asked for any more is no news to the loop."""
    if not future.cancelled():
        future.exception()
