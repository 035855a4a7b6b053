"""One channel joined to one socket of the host.

    far side ── SSH channel ── FarEnd │ NearEnd ── Unix socket ── the host's Duplex

A Unix socket ends in the same way whether its owner has said all or has died. So the end of a
socket means nothing: each side announces on the control channel how many bytes it has sent in all,
and the stream has ended when they have arrived. Whatever ends before that was cut short, and is
told so on the other side: the channel is aborted, the host's stream destroyed with an error.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from wraith.errors import ChannelError, SessionLost, WraithError

LINGER = 60.0
"""Seconds in which the far side must take the rest of a stream on which both have said all."""


class BridgeOwner(Protocol):
    """Whoever is told how a bridge fares."""

    def ended(self, bridge: Bridge, total: int) -> None:
        """The far side has said all: `total` bytes, which are on their way to the host."""
        ...

    def closed(self, bridge: Bridge, error: WraithError | None) -> None:
        """The channel is gone; `error` if it was cut short. Called once."""
        ...


class Bridge:
    """Both ends and what they know of each other; `number` is the stream's name on the wire.

    The channel is not read before the host's socket is there. A full socket pauses the channel and
    a full channel the socket, so that a bridge never holds more than the two write buffers.
    """

    def __init__(self, owner: BridgeOwner, number: int = 0) -> None:
        self.number = number
        self._owner = owner
        self.far = FarEnd(self)
        self.near = NearEnd(self)
        self._host_total: int | None = None
        self._host_ended = False
        self._far_ended = False
        self._closed = False
        self._lingering: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Bridge {self.number} {state} far_ended={self._far_ended}>"

    @property
    def is_closed(self) -> bool:
        """Whether the channel is gone."""
        return self._closed

    @property
    def is_finished(self) -> bool:
        """Whether both sides have said all."""
        return self._far_ended and self._host_ended

    # What the host says on the control channel

    def announce_end(self, total: int) -> None:
        """The host has sent `total` bytes and will send no more."""
        self._host_total = total
        self.host_sent()

    def abort(self) -> None:
        """The host gave the stream up, or is gone: the far side shall see it cut short."""
        self.near.abort()
        self.far.abort()

    # What the two ends report

    def host_sent(self) -> None:
        """Bytes came from the host, or the number of them all."""
        if self.near.received == self._host_total and not self._host_ended:
            self._host_ended = True
            self.far.write_eof()
            self._close_finished()

    def far_ended(self) -> None:
        """No more comes from the channel."""
        self._far_ended = True
        self.near.write_eof()
        self._owner.ended(self, self.far.received)
        self._close_finished()

    def _close_finished(self) -> None:
        if self.is_finished and not self._closed:
            self.near.close()
            self.far.close()
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(LINGER, self.far.abort)

    def far_lost(self, error: BaseException | None) -> None:
        """The channel is gone."""
        self._closed = True
        if self._lingering is not None:
            self._lingering.cancel()
        if not self._far_ended:
            self.near.abort()
            self._owner.closed(self, _cut_short(error))
            return
        # What the host still sends has nowhere to go. It is read all the same, until the host ends
        # the socket: closed with bytes unread, it would take with it what the host has not read.
        self.near.resume()
        self._owner.closed(self, None)


def _cut_short(error: BaseException | None) -> WraithError:
    if error is not None and error.__cause__ is not None:
        return SessionLost("the session ended, and the stream with it")
    return ChannelError("the stream was cut short by the far side")


class _End(asyncio.Protocol):
    """What the two ends have in common: a stream, and the other end to pause and resume."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.received = 0
        """Bytes that came on this end."""
        self._stream: asyncio.Transport | None = None
        self._given_up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the stream."""
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport
        if self._given_up:
            transport.abort()

    @property
    def is_connected(self) -> bool:
        """Whether it has its stream."""
        return self._stream is not None

    def write(self, data: bytes) -> None:
        """Send on this end."""
        if self._stream is not None:
            self._stream.write(data)

    def write_eof(self) -> None:
        """End this end's direction after what was written."""
        if self._stream is not None and not self._stream.is_closing():
            self._stream.write_eof()

    def pause(self) -> None:
        """Read no more from this end."""
        if self._stream is not None:
            self._stream.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._stream is not None:
            self._stream.resume_reading()

    def close(self) -> None:
        """End after what was written."""
        if self._stream is not None:
            self._stream.close()

    def abort(self) -> None:
        """End at once; also a stream that is still to come."""
        self._given_up = True
        if self._stream is not None:
            self._stream.abort()


class FarEnd(_End):
    """The protocol on the channel."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The channel is open: nothing may arrive before there is somewhere to put it."""
        super().connection_made(transport)
        if not self._bridge.near.is_connected:
            self.pause()

    def data_received(self, data: bytes) -> None:
        """Pass on to the host."""
        self.received += len(data)
        self._bridge.near.write(data)

    def eof_received(self) -> bool:
        """The far side has said all; the host may go on."""
        self._bridge.far_ended()
        return True

    def pause_writing(self) -> None:
        """The channel is full: take no more from the host."""
        self._bridge.near.pause()

    def resume_writing(self) -> None:
        """The channel has room."""
        self._bridge.near.resume()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The channel is gone."""
        self._stream = None
        self._bridge.far_lost(exc)


class NearEnd(_End):
    """The protocol on the host's socket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected: let the channel's bytes come."""
        super().connection_made(transport)
        self._bridge.far.resume()

    def data_received(self, data: bytes) -> None:
        """Pass on to the far side."""
        self.received += len(data)
        self._bridge.far.write(data)
        self._bridge.host_sent()

    def eof_received(self) -> bool:
        """The host sends no more; if it has not said all, it is cut short when it says so itself,
        or by the end of the control channel."""
        return not self._bridge.is_closed

    def pause_writing(self) -> None:
        """The host does not read: take no more from the far side."""
        self._bridge.far.pause()

    def resume_writing(self) -> None:
        """The host reads again."""
        self._bridge.far.resume()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The socket is gone; what that means is said on the control channel."""
        self._stream = None
