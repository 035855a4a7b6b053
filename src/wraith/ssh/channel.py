"""An SSH channel, as a stream.

The library calls a session object when something happens on a channel; `ChannelStream` is that
session on one side and an `asyncio.Transport` on the other, so that a channel is relayed, read and
tested like any socket.

SSH has no reset. A channel that closes without an end-of-file before it was cut short, and that is
how it is reported: a truncated transfer must not look complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import asyncssh

from wraith.streams.log_line import log_event

_log = logging.getLogger(__name__)

MAX_PACKET = 32 * 1024
HIGH_WATER = 64 * 1024

Channel = asyncssh.SSHTCPChannel[bytes]


class ChannelStream(asyncio.Transport):
    """One channel; made when it opens.

    `on_close` is called once, when the channel is gone, whatever the reason.
    """

    def __init__(self, on_close: Callable[[ChannelStream], None]) -> None:
        super().__init__()
        self._on_close = on_close
        self._channel: Channel | None = None
        self._protocol: asyncio.Protocol | None = None
        self._received_eof = False
        self._wrote_eof = False
        self._closing = False
        self._channel_full = False
        self._link_full = False
        self._reading = True

    def __repr__(self) -> str:
        state = "closing" if self._closing else "opening" if self._channel is None else "open"
        return f"<ChannelStream {state} received_eof={self._received_eof}>"

    # What the library calls

    def _opened(self, channel: Channel, protocol: asyncio.Protocol) -> None:
        self._channel = channel
        self._protocol = protocol
        channel.set_write_buffer_limits(HIGH_WATER)
        channel.pause_reading()

    def _started(self) -> None:
        """The protocol has its stream: what came meanwhile may be delivered, unless it paused."""
        if self._reading and self._channel is not None:
            self._channel.resume_reading()

    def _received(self, data: bytes) -> None:
        if self._protocol is not None:
            self._protocol.data_received(data)

    def _ended(self) -> None:
        self._received_eof = True
        if self._protocol is None or not self._protocol.eof_received():
            self.close()

    def _lost(self, exc: Exception | None) -> None:
        cut_short = not self._closing and (exc is not None or not self._received_eof)
        error = ConnectionResetError("the channel was cut short") if cut_short else None
        if error is not None:
            error.__cause__ = exc  # there is one when the whole session ended
        self._closing = True
        self._channel = None
        self._on_close(self)
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def _set_channel_full(self, full: bool) -> None:
        if self._closing and not full and self._channel is not None:
            asyncio.get_running_loop().call_soon(self._channel.close)
            return
        self._update_flow(full, self._link_full)

    def set_link_full(self, full: bool) -> None:
        """The session's own stream has, or has no longer, more to send than it should hold."""
        self._update_flow(self._channel_full, full)

    def _update_flow(self, channel_full: bool, link_full: bool) -> None:
        was, now = self._channel_full or self._link_full, channel_full or link_full
        self._channel_full, self._link_full = channel_full, link_full
        if self._protocol is None or was == now or self._closing:
            return
        if now:
            self._protocol.pause_writing()
        else:
            self._protocol.resume_writing()

    # asyncio.Transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the channel to another protocol."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that reads the channel."""
        assert self._protocol is not None
        return self._protocol

    def is_reading(self) -> bool:
        """Whether received bytes are delivered."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Deliver nothing; the peer stops when the window is used up."""
        self._reading = False
        if self._channel is not None:
            self._channel.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again."""
        self._reading = True
        if self._channel is not None:
            self._channel.resume_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; dropped silently once the channel is closing, as asyncio's sockets do."""
        if self._closing:
            return
        if self._wrote_eof:
            raise RuntimeError("cannot write after write_eof()")
        if self._channel is None or self._channel.is_closing():
            return
        self._channel.write(bytes(data))

    def can_write_eof(self) -> bool:
        """Half-close is supported (RFC 4254 section 5.3)."""
        return True

    def write_eof(self) -> None:
        """Send the end-of-file after what was written."""
        if self._wrote_eof or self._closing:
            return
        self._wrote_eof = True
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the peer's window."""
        return self._channel.get_write_buffer_size() if self._channel is not None else 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark, in bytes."""
        return HIGH_WATER // 4, HIGH_WATER

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes."""
        if self._channel is not None:
            self._channel.set_write_buffer_limits(high, low)

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called, or the channel is gone."""
        return self._closing

    def close(self) -> None:
        """End the channel after what was written, with an end-of-file."""
        if self._closing:
            return
        self.write_eof()
        self._closing = True
        if self._channel is None:
            return
        if self._channel.get_write_buffer_size() == 0:
            self._channel.close()
        else:
            # Closing now would have the library leave out the end-of-file, and the peer take the
            # channel for cut short: close when the last byte has gone.
            self._channel.pause_reading()
            self._channel.set_write_buffer_limits(0)

    def abort(self) -> None:
        """End the channel at once; without an end-of-file, so that the peer sees it cut short."""
        self._closing = True
        if self._channel is not None:
            self._channel.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing: what the library knows of a channel includes its destination."""
        return default


class ChannelSession(asyncssh.SSHTCPSession[bytes]):
    """The library's view of a `ChannelStream`; one class for TCP and Unix-socket channels.

    An exception that reached the library would end the whole session. Here it ends the channel, as
    one in a callback of asyncio's ends the connection.
    """

    def __init__(self, stream: ChannelStream, protocol: asyncio.Protocol) -> None:
        self._stream = stream
        self._protocol = protocol

    def connection_made(self, chan: Channel) -> None:
        """The channel is open: join stream and protocol, and only then let bytes through."""
        self._stream._opened(chan, self._protocol)
        with self._fault_ends_channel():
            self._protocol.connection_made(self._stream)
            self._stream._started()

    def data_received(self, data: bytes, datatype: object) -> None:
        """Bytes from the peer."""
        with self._fault_ends_channel():
            self._stream._received(data)

    def eof_received(self) -> bool:
        """The peer's end-of-file; our own direction is ended by the stream, not the library."""
        with self._fault_ends_channel():
            self._stream._ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone."""
        with self._fault_ends_channel():
            self._stream._lost(exc)

    def pause_writing(self) -> None:
        """The peer's window and our buffer are full."""
        with self._fault_ends_channel():
            self._stream._set_channel_full(True)

    def resume_writing(self) -> None:
        """There is room again."""
        with self._fault_ends_channel():
            self._stream._set_channel_full(False)

    @contextlib.contextmanager
    def _fault_ends_channel(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            kind = type(error).__name__
            log_event(_log, logging.ERROR, "a channel's protocol failed", error=kind)
            self._stream.abort()
