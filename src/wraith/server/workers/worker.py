"""A worker from inside: a server that listens nowhere, and gets its connections handed over."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wraith.errors import UsageError, WraithError
from wraith.protocol.worker_link import Copy, Message
from wraith.pubsub.backend import Gap
from wraith.server.serve import Server
from wraith.server.siblings import Siblings
from wraith.server.workers.challenges import acme_certificate
from wraith.server.workers.exchange import ExchangeBackend
from wraith.server.workers.link import Link
from wraith.server.workers.orders import read_orders
from wraith.server.workers.places import Places, WaitingRoom, address_from
from wraith.server.workers.sockets import Taking
from wraith.server.workers.tally import Report
from wraith.streams.log_line import log_event
from wraith.streams.socket_stream import SocketStream, open_socket_stream
from wraith.streams.tasks import TaskSet
from wraith.transports.base import PeerInfo, ProtocolFactory, SharedAcceptor

_log = logging.getLogger("wraith.server")

if TYPE_CHECKING:
    from wraith.transports.acme import AcmeCertificate

ORDERS_LIMIT = 30.0
"""Seconds in which the parent says what this worker is to be."""


class WorkerServer(Server):
    """A server whose connections come with a place from the parent, or ask for one."""

    counts_channels = False

    def __init__(self, said: Mapping[str, Any], places: Places, link: Link) -> None:
        siblings = Siblings(
            places, functools.partial(ExchangeBackend, link), said["mark"], places.vacate
        )
        super().__init__(read_orders(said["orders"]), siblings)
        self.counts_channels = said["counts_channels"]
        self._places = places
        self._greeters: dict[str, SharedAcceptor] = {}
        self._hidden: ProtocolFactory | None = None
        self.certificate: AcmeCertificate | None = None

    async def _begin_to_accept(self) -> None:
        acceptors = self.options.acceptors()
        self.certificate = acme_certificate(acceptors)
        if self.certificate is not None:
            self.certificate.follow()
        for acceptor in acceptors:
            assert isinstance(acceptor, SharedAcceptor)
            self._acceptors.append(acceptor)
            await acceptor.prepare()
            self._greeters[acceptor.transport] = acceptor
        if self.options.stealth_settings() is not None:
            self._hidden = self._greeters["tls"].greeter(self._let_wait)

    def take(self, sock: socket.socket, note: Mapping[str, Any]) -> None:
        """A connection is handed over; it may have its place already."""
        token, peer = note["token"], (note["peer"][0], note["peer"][1])
        if token is None:
            assert self._hidden is not None
            SocketStream(sock, self._hidden(), peername=peer)
            return
        first = self._greeters[note["transport"]].greeter(
            lambda info: self.admit_unless_closing(info, token)
        )
        try:
            SocketStream(sock, first(), peername=peer)
        except BaseException:
            self.admissions.end(token, "", None)
            raise

    def not_taken(self, note: Mapping[str, Any]) -> None:
        """A connection was lost on its way: there was no descriptor for it."""
        log_event(_log, logging.ERROR, "connection not taken", reason="too many open files")
        if note["token"] is not None:
            self.admissions.end(note["token"], "", None)

    def admit_unless_closing(self, info: PeerInfo, token: int) -> asyncio.Protocol | None:
        """As `admit`; a server that stops gives the place back."""
        if self._closing:
            self.admissions.end(token, info.address, None)
            return None
        return self.admit(info, token)

    def _let_wait(self, info: PeerInfo) -> asyncio.Protocol | None:
        if self._closing:
            return None
        return WaitingRoom(info, self._places, self.admit_unless_closing, self._tasks)


class Worker:
    """What goes on between a worker and its parent."""

    def __init__(self, number: int, configure: Callable[..., None]) -> None:
        self._number = number
        self._configure = configure
        self._server: WorkerServer | None = None
        self._leave = asyncio.Event()
        self._late_reload: Mapping[str, Any] | None = None
        self._orders: asyncio.Future[Mapping[str, Any]]
        self._orders = asyncio.get_running_loop().create_future()
        self._tasks = TaskSet("worker")
        self._link = Link(self._hear, self._orphaned, self._dropped)
        self._places = Places(self._link)
        self._heard: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "begin": self._begin,
            "answer": self._places.answered,
            "vacate": self._vacate,
            "missed": lambda said: self._missed(Gap(said["seconds"], said["dropped"])),
            "reload": self._reload,
            "ping": lambda _said: self._report(),
            "challenged": self._challenged,
            "settled": lambda _said: self._with_certificate(lambda item: item.settled()),
            "obtained": lambda _said: self._with_certificate(lambda item: item.show_kept()),
            "leave": lambda _said: self._leave.set(),
        }

    async def run(self, link: socket.socket, channel: socket.socket) -> int:
        """Serve until the parent wants no more; the exit code. A lost parent is the end at once."""
        link.setblocking(False)
        await open_socket_stream(link, self._link)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._wants_to_leave)
        async with asyncio.timeout(ORDERS_LIMIT):
            said = await self._orders
        self._configure(said["level"], said["style"], worker=self._number)
        try:
            await self._serve(said, channel)
        except WraithError as error:
            self._link.say(
                "failed",
                message=error.message,
                hint=error.hint,
                usage=isinstance(error, UsageError),
            )
            await asyncio.wait_for(self._leave.wait(), ORDERS_LIMIT)
            return 1
        return 0

    async def _serve(self, said: Mapping[str, Any], channel: socket.socket) -> None:
        async with WorkerServer(said, self._places, self._link) as server:
            self._server = server
            taking = Taking(channel, server.take, server.not_taken)
            if self._late_reload is not None:
                self._reload(self._late_reload)
            self._link.say("ready")
            await self._leave.wait()
            taking.close()
        self._report()
        await self._tasks.close()

    def _wants_to_leave(self) -> None:
        self._link.say("leaving")

    def _orphaned(self) -> None:
        os._exit(1)

    # What the parent says

    def _hear(self, message: Message) -> None:
        if isinstance(message, Copy):
            if self._server is not None:
                self._server.bus.arrived(message.topic, message.body)
        else:
            self._heard[message.op](message.fields)

    def _begin(self, said: Mapping[str, Any]) -> None:
        self._orders.set_result(said)

    def _report(self) -> None:
        report = Report.of(self._server) if self._server is not None else Report()
        self._link.say("report", **dataclasses.asdict(report))

    def _reload(self, said: Mapping[str, Any]) -> None:
        if self._server is None:
            self._late_reload = said  # of a server that is just being started
            return
        orders = said["orders"]
        self._server.reload(read_orders(orders) if orders is not None else None)

    def _challenged(self, said: Mapping[str, Any]) -> None:
        self._with_certificate(
            lambda item: item.challenged(said["identifier"], said["key_authorization"])
        )
        self._link.say("shown", number=said["number"])

    def _with_certificate(self, do: Callable[[AcmeCertificate], None]) -> None:
        if self._server is not None and self._server.certificate is not None:
            do(self._server.certificate)

    def _missed(self, gap: Gap) -> None:
        if self._server is not None:
            self._server.bus.missed(gap)

    def _dropped(self, dropped: int) -> None:
        self._missed(Gap(0.0, dropped))

    def _vacate(self, said: Mapping[str, Any]) -> None:
        self._tasks.spawn(self._try_to_vacate(said), "vacate an address")

    async def _try_to_vacate(self, said: Mapping[str, Any]) -> None:
        done = self._server is not None and await self._server.remote_listeners.vacate(
            said["fingerprint"], address_from(said["address"])
        )
        self._link.say("vacated", number=said["number"], done=done)
