"""A connection that came to us, and its way to the destination.

It is accepted at once and kept while its other half is dialled: what it sends meanwhile is held
back (up to a bound), and if it goes away the dialling is cancelled. Then the two are joined.
"""

from __future__ import annotations

import asyncio

from wraith.dialing.base import Dialer, Spliceable, Splicer
from wraith.errors import ChannelRefused, Refusal, SessionLost, WraithError
from wraith.streams.relay import relay_pair, reset
from wraith.streams.socket_stream import SocketStream
from wraith.streams.tally import Tally
from wraith.streams.tasks import TaskSet
from wraith.values.address import Destination

EARLY_LIMIT = 64 * 1024
"""Bytes that a client may send before its destination is reached."""


class LocalConnection(asyncio.Protocol):
    """The protocol of such a connection until it is joined; subclasses say where it goes."""

    def __init__(
        self,
        dialer: Dialer,
        tasks: TaskSet,
        splicer: Splicer | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._tally = tally
        self._dialer = dialer
        self._splicer = splicer
        self._spliceable: Spliceable | None = None
        self._tasks = tasks
        self._stream: asyncio.Transport
        self._early = bytearray()
        self._early_eof = False
        self._dialling: asyncio.Task[None] | None = None
        self._gone = False

    def __repr__(self) -> str:
        state = "gone" if self._gone else "dialling" if self._dialling else "waiting"
        return f"<{type(self).__name__} {state}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport

    def data_received(self, data: bytes) -> None:
        """Keep what comes before the destination is reached."""
        self._early += data
        if len(self._early) > EARLY_LIMIT:
            self._stream.pause_reading()

    def eof_received(self) -> bool:
        """The client has said all; it may still listen."""
        self._early_eof = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went away before its destination was reached."""
        self._gone = True
        if self._dialling is not None:
            self._dialling.cancel()
        if self._spliceable is not None:
            self._spliceable.abandon()

    # The short way

    def spliced(self, channel: Spliceable) -> None:
        """As `SpliceOwner.spliced`."""
        self._spliceable = None
        if self._gone:
            channel.abandon()
            return
        self.accepted()
        assert isinstance(self._stream, SocketStream)
        sock = self._stream.detach()
        if sock is None:  # a client that does not even take our answer
            channel.abandon()
            reset(self._stream)
            return
        if self._tally is not None:
            channel.tally = self._tally
            self._tally.began(channel)
        channel.relay(sock, bytes(self._early), ended=self._early_eof)
        self._early.clear()

    def not_spliced(self, reason: Refusal | None) -> None:
        """As `SpliceOwner.not_spliced`."""
        self._spliceable = None
        if not self._gone:
            lost = SessionLost("the session ended while a channel was opening")
            self.refused(lost if reason is None else ChannelRefused(reason))

    # The ordinary way

    def dial(self, destination: Destination) -> None:
        """Begin to reach the destination, the short way if it is open."""
        if self._splicer is not None and isinstance(self._stream, SocketStream):
            self._spliceable = self._splicer.splice(destination, self)
            if self._spliceable is not None:
                return
        self._dialling = self._tasks.spawn(self._join(destination), "dial for a local connection")

    async def _join(self, destination: Destination) -> None:
        near, far = relay_pair()
        try:
            await self._dialer.dial(destination, far)
        except WraithError as error:
            if not self._gone:
                self.refused(error)
            return
        if self._gone or self._stream.is_closing():
            near.connection_lost(ConnectionResetError("the client went away"))
            return
        self.accepted()
        if self._tally is not None:
            near.count_in(self._tally)
        self._stream.set_protocol(near)
        near.connection_made(self._stream)
        near.begin(bytes(self._early), eof=self._early_eof)

    def accepted(self) -> None:
        """The destination is reached; the bytes flow next."""

    def refused(self, error: WraithError) -> None:
        """The destination was not reached; by default the client sees a reset."""
        reset(self._stream)


class ForwardedConnection(LocalConnection):
    """A connection to a forwarded port: it goes to the one destination of the forward."""

    def __init__(
        self,
        dialer: Dialer,
        tasks: TaskSet,
        destination: Destination,
        splicer: Splicer | None = None,
        tally: Tally | None = None,
    ) -> None:
        super().__init__(dialer, tasks, splicer, tally)
        self._destination = destination

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came: dial at once."""
        super().connection_made(transport)
        self.dial(self._destination)
