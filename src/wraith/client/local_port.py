"""The local port: SOCKS5, SOCKS4a, HTTP CONNECT and the PAC file, told apart by the first byte."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from wraith.client.local_connection import LocalConnection
from wraith.client.udp_association import OpenDatagrams, associate
from wraith.dialing.base import Dialer, Splicer
from wraith.errors import ChannelRefused, Refusal, WraithError
from wraith.protocol.events import (
    NEED_DATA,
    ConnectRequest,
    Failed,
    PacRequest,
    UdpAssociateRequest,
)
from wraith.protocol.http_proxy import pac_file
from wraith.protocol.local_port import LocalPortServer
from wraith.streams import datagram_socket
from wraith.streams.deadlines import Deadlines
from wraith.streams.tally import Tally
from wraith.streams.tasks import TaskSet
from wraith.values.address import HostPort
from wraith.values.credentials import Credentials

HANDSHAKE_TIMEOUT = 10.0
"""Seconds from the first connection to a complete request."""


Handshakes: TypeAlias = "Deadlines[LocalPortConnection]"


class LocalPortConnection(LocalConnection):
    """A client of the local port, from its first byte to the joined stream."""

    def __init__(
        self,
        dialer: Dialer,
        tasks: TaskSet,
        credentials: Credentials | None = None,
        splicer: Splicer | None = None,
        handshakes: Handshakes | None = None,
        open_datagrams: OpenDatagrams | None = None,
        tally: Tally | None = None,
    ) -> None:
        super().__init__(dialer, tasks, splicer, tally)
        self._open_datagrams = open_datagrams
        self._machine = LocalPortServer(credentials)
        self._handshakes = Deadlines(HANDSHAKE_TIMEOUT) if handshakes is None else handshakes
        self._shaking_hands = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came; it has a bounded time to say what it wants."""
        super().connection_made(transport)
        self._handshakes.add(self)

    def too_late(self) -> None:
        """The client took too long to say it."""
        self._stream.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the handshake; later bytes wait for the destination."""
        if not self._shaking_hands:
            super().data_received(data)
            return
        self._machine.receive_data(data)
        event = self._machine.next_event()
        self._send_replies()
        if event is NEED_DATA:
            return
        self._end_handshake()
        if isinstance(event, ConnectRequest):
            self.dial(event.destination)
        elif isinstance(event, PacRequest):
            self._send_pac_file()
        elif isinstance(event, UdpAssociateRequest):
            self._associate(event)
        elif isinstance(event, Failed):
            self._finish()

    def eof_received(self) -> bool:
        """A client that ends before its request is complete has nothing to wait for."""
        super().eof_received()
        return not self._shaking_hands

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went away."""
        self._end_handshake()
        super().connection_lost(exc)

    def accepted(self) -> None:
        """Tell the client, and put what it sent along with its request before what came later."""
        self._machine.accept()
        self._send_replies()
        self._early[:0] = self._machine.trailing_data()

    def refused(self, error: WraithError) -> None:
        """Tell the client the true reason, as far as its protocol has a word for it."""
        reason = error.reason if isinstance(error, ChannelRefused) else Refusal.FAILED
        self._machine.refuse(reason)
        self._finish()

    # Datagrams

    def _associate(self, request: UdpAssociateRequest) -> None:
        if self._open_datagrams is None or not datagram_socket.is_possible():
            self._machine.refuse_command()
            self._finish()
            return
        work = self._join_datagrams(self._open_datagrams, request)
        self._dialling = self._tasks.spawn(work, "open an association")

    async def _join_datagrams(
        self, open_datagrams: OpenDatagrams, request: UdpAssociateRequest
    ) -> None:
        try:
            association = await associate(self._stream, request.destination, open_datagrams)
        except WraithError as error:
            if not self._gone:
                self.refused(error)
            return
        if self._gone or self._early_eof or self._stream.is_closing():
            association.close()
            self._stream.close()
            return
        self._machine.accept(association.address)
        self._send_replies()
        association.keep_with(self._stream, self._tally)

    def _send_pac_file(self) -> None:
        sockname = self._stream.get_extra_info("sockname")
        if sockname is not None:
            host = str(sockname[0]).partition("%")[0]
            self._stream.write(pac_file(HostPort(host, sockname[1])))
        self._finish()

    def _send_replies(self) -> None:
        data = self._machine.data_to_send()
        if data:
            self._stream.write(data)

    def _finish(self) -> None:
        self._send_replies()
        self._stream.close()

    def _end_handshake(self) -> None:
        self._shaking_hands = False
        self._handshakes.discard(self)
