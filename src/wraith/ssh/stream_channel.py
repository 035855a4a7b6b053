"""A lean channel with a protocol on it: what stands in for the library's own channels.

It has the methods of the library's channel that `ChannelStream` and the library itself call, so the
rest of this room does not know which of the two it has.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import asyncssh

from wraith.errors import Refusal
from wraith.protocol.ssh_reason import encode_refusal
from wraith.ssh.channel import HIGH_WATER, ChannelSession
from wraith.ssh.lean_channel import LeanChannel

if TYPE_CHECKING:
    from wraith.ssh.fast_connection import FastConnection

SessionFactory = Callable[[], ChannelSession]


class StreamChannel(LeanChannel):
    """See the module."""

    __slots__ = (
        "_closing",
        "_ending",
        "_full",
        "_high",
        "_kept",
        "_low",
        "_opening",
        "_outgoing",
        "_paused",
        "_session",
        "_told_end",
    )

    def __init__(self, connection: FastConnection) -> None:
        super().__init__(connection)
        self._session: ChannelSession | None = None
        self._opening: asyncio.Future[None] | None = None
        self._outgoing = bytearray()
        self._kept = bytearray()
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._paused = self._full = self._ending = self._closing = self._told_end = False

    # Opening, from our side

    async def connect(self, factory: SessionFactory, *where: Any) -> ChannelSession:
        """Open it to a destination: host, port, and the originator's, or a path."""
        if len(where) == 1:
            # OpenSSH's PROTOCOL, direct-streamlocal@openssh.com: two reserved fields follow.
            kind, arguments = b"direct-streamlocal@openssh.com", (where[0], "", 0)
        else:
            kind, arguments = b"direct-tcpip", where
        return await self._open(factory, kind, *arguments)

    async def accept(self, factory: SessionFactory, *where: Any) -> ChannelSession:
        """Open it for a connection to a remote forward."""
        if len(where) == 1:
            kind, arguments = b"forwarded-streamlocal@openssh.com", (where[0], "")
        else:
            kind, arguments = b"forwarded-tcpip", where
        return await self._open(factory, kind, *arguments)

    async def _open(self, factory: SessionFactory, kind: bytes, *arguments: Any) -> ChannelSession:
        self._opening = asyncio.get_running_loop().create_future()
        self.send_open(kind, *(_encode(argument) for argument in arguments))
        try:
            await self._opening
        except asyncio.CancelledError:
            if self.is_open:  # it opened before we could be told to stop
                self.abort()
            raise
        if self.connection is None:
            raise asyncssh.ChannelOpenError(*encode_refusal(Refusal.FAILED))
        session = self._session = factory()
        session.connection_made(self)  # type: ignore[arg-type]
        self.deliver_kept()
        return session

    def opened(self) -> None:
        """As `LeanChannel.opened`."""
        assert self._opening is not None
        if self._opening.cancelled():
            self.abort()
        else:
            self._opening.set_result(None)

    def refused(self, reason: Refusal) -> None:
        """As `LeanChannel.refused`."""
        if self._opening is not None and not self._opening.done():
            self._opening.set_exception(asyncssh.ChannelOpenError(*encode_refusal(reason)))

    # Opening, from the peer's side

    def set_inbound_peer_names(self, *_names: Any) -> None:
        """The library tells a channel where it leads; better not to know."""

    def process_open(
        self,
        peer: int,
        window: int,
        max_packet: int,
        session: ChannelSession | Awaitable[ChannelSession],
    ) -> None:
        """The peer asks for the channel; its session may still be on its way."""
        self.note_peer(peer, window, max_packet)
        assert self.connection is not None
        self.connection.create_task(self._answer(session))

    async def _answer(self, session: ChannelSession | Awaitable[ChannelSession]) -> None:
        try:
            if inspect.isawaitable(session):
                session = await session
        except asyncssh.ChannelOpenError as error:
            if self.connection is not None:
                self.connection.send_channel_open_failure(
                    self.peer, error.code, error.reason, error.lang
                )
                self.leave()
            return
        self._session = session
        self.confirm()
        session.connection_made(self)  # type: ignore[arg-type]
        self.deliver_kept()

    # As `ChannelStream` uses a channel

    def write(self, data: bytes) -> None:
        """Send bytes, now or when there is room."""
        self._outgoing += data
        self._pump()
        if len(self._outgoing) > self._high and not self._full and self._session is not None:
            self._full = True
            self._session.pause_writing()

    def resume(self) -> None:
        """As `LeanChannel.resume`."""
        self._pump()

    def _pump(self) -> None:
        outgoing, writer = self._outgoing, self.writer
        while outgoing and self.send_window > 0 and writer.ready:
            size = min(len(outgoing), self.send_window, self.send_max)
            writer.inbox[:size] = outgoing[:size]
            del outgoing[:size]
            self.send_window -= size
            writer.data(self.peer, size)
        if outgoing and not writer.ready and self.connection is not None:
            writer.waiting[self] = None
        if self._full and len(outgoing) <= self._low:
            self._full = False
            if self._session is not None:
                self._session.resume_writing()
        if not outgoing:
            if self._ending:
                self.send_end()
            if self._closing:
                self._close_now()

    def write_eof(self) -> None:
        """Send no more after what was written."""
        self._ending = True
        self._pump()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for room."""
        return len(self._outgoing)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes."""
        self._high = HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low
        if len(self._outgoing) > self._high and not self._full and self._session is not None:
            self._full = True
            self._session.pause_writing()

    def is_closing(self) -> bool:
        """Whether it takes no more to send."""
        return self._closing or self.sent_close or self.connection is None

    def close(self) -> None:
        """Close after what was written; what comes is no longer read."""
        self._closing = True
        self._kept.clear()
        self._pump()

    def abort(self) -> None:
        """Close at once."""
        self._outgoing.clear()
        self._kept.clear()
        self._closing = True
        self._close_now()

    def _close_now(self) -> None:
        self.send_close()
        if self.received_close:
            self._lose()

    # Receiving

    def pause_reading(self) -> None:
        """Deliver nothing; the window bounds what is kept."""
        self._paused = True

    def resume_reading(self) -> None:
        """Deliver what was kept, and what comes."""
        self._paused = False
        self.deliver_kept()

    def deliver(self) -> None:
        """As `LeanChannel.deliver`."""
        pieces, self.pending = self.pending, None
        if pieces is None or self._closing:
            return
        data = bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
        if self._paused or self._kept or self._session is None:
            self._kept += data
        elif data:
            self.consumed(len(data))
            self._session.data_received(data, None)

    def deliver_kept(self) -> None:
        """Deliver what was kept while nobody read; then the end, if it has come."""
        while self._kept and not self._paused and self._session is not None:
            data = bytes(self._kept[:HIGH_WATER])
            del self._kept[:HIGH_WATER]
            self.consumed(len(data))
            self._session.data_received(data, None)
        if self._kept or self._paused or self._session is None:
            return
        if self.received_eof and not self._told_end:
            self._told_end = True
            self._session.eof_received()
        if self.received_close:
            self._lose()

    def consumed(self, count: int) -> None:
        """As `LeanChannel.consumed`; nothing after the end."""
        if self.connection is not None:
            super().consumed(count)

    def peer_ended(self) -> None:
        """As `LeanChannel.peer_ended`."""
        self.deliver_kept()

    def peer_closed(self) -> None:
        """As `LeanChannel.peer_closed`."""
        self._outgoing.clear()
        self.send_close()
        if self._closing:
            self._lose()
        else:
            self.deliver_kept()

    def connection_ended(self) -> None:
        """As `LeanChannel.connection_ended`."""
        if self._opening is not None and not self._opening.done():
            self._opening.set_exception(asyncssh.ChannelOpenError(*encode_refusal(Refusal.FAILED)))
        session, self._session = self._session, None
        if session is not None:
            session.connection_lost(asyncssh.ConnectionLost("the session is over"))

    def _lose(self) -> None:
        """Both sides have closed."""
        self.leave()
        session, self._session = self._session, None
        if session is not None:
            session.connection_lost(None)


def _encode(argument: str | int) -> bytes:
    if isinstance(argument, int):
        return argument.to_bytes(4, "big")
    data = argument.encode()
    return len(data).to_bytes(4, "big") + data
