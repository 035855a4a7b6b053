"""The two halves of a QUIC stream, joined into one `asyncio.Transport` (decision 003).

Each connection carries one stream, so the connection's end is the stream's. Its close tells the
peer how it ended: `DONE` after all was said, `ABORTED` for a stream that was cut.

    write ──► queue ──► one write at a time ──► QUIC's own buffer ──► peer
    peer  ──► QUIC's own buffer ──► one read at a time ──► data_received

A read that is under way is not given up for a pause, since its bytes would be lost: what it brings
is kept until the protocol reads again.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from wraith.streams.tasks import TaskSet
from wraith.transports.base import PathInfo
from wraith.transports.iroh.binding import as_os_error, os_error
from wraith.transports.iroh.calls import Pending
from wraith.transports.iroh.outbox import Outbox
from wraith.transports.iroh.shortcuts import fastest

READ_SIZE = 64 * 1024
"""Above this Rust clears memory for nothing."""

READS_A_TURN = 8
"""Reads that are answered at once, before others get their turn."""

LINGER = 2.0
"""Seconds for the peer to confirm what was said before a close; else the last words are lost."""

GOODBYE = 0.05
"""Seconds, or two round trips if that is longer, between the last words before an abort and the
abort itself: without them it often overtakes what was said (12 in 20 times on loopback)."""

DONE, ABORTED, REFUSED = 0, 1, 2
"""How a connection was closed; what the peer is told."""


class Streams:
    """All streams of one endpoint, and what they do on their own."""

    def __init__(self) -> None:
        self.tasks = TaskSet("iroh")
        self.open: set[IrohStream] = set()
        self.closed = False

    def __repr__(self) -> str:
        return f"<Streams open={len(self.open)} tasks={len(self.tasks)}>"

    async def close(self) -> None:
        """End those that are still open, and let all of them part from their peers."""
        for stream in list(self.open):
            stream.abort()
        deadline = asyncio.get_running_loop().time() + LINGER
        while len(self.tasks) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        self.closed = True
        await self.tasks.close()


class IrohStream(asyncio.Transport):
    """The stream of one connection; made by `opened` or `accepted`."""

    def __init__(self, connection: Any, protocol: asyncio.Protocol, family: Streams) -> None:
        super().__init__()
        self._connection = connection
        self._protocol = protocol
        self._family = family
        self._tasks = family.tasks
        self._loop = asyncio.get_running_loop()
        self._begin_read, self._begin_write = fastest()
        self._receiving: Any = None
        self._sending: Any = None
        self._read: Pending | None = None
        self._write: Pending | None = None
        self._unread: bytes | None = None  # came while paused; b"" is the end
        self._outbox = Outbox()
        self._flush_soon: asyncio.Handle | None = None
        self._too_late: asyncio.TimerHandle | None = None
        self._gone: str | None = None  # how the connection has ended
        self._paused = self._full = False
        self._read_eof = self._wrote_eof = self._finishing = False
        self._closing = self._ended = False

    def __repr__(self) -> str:
        state = "closed" if self._ended else "closing" if self._closing else "open"
        unsent = self.get_write_buffer_size()
        return f"<IrohStream {state} reading={self.is_reading()} unsent={unsent}>"

    # Beginning

    @classmethod
    def opened(
        cls, connection: Any, halves: Any, protocol: asyncio.Protocol, family: Streams
    ) -> IrohStream:
        """The stream that we opened on a connection."""
        stream = cls(connection, protocol, family)
        stream._join(halves)
        stream._start()
        return stream

    @classmethod
    def accepted(
        cls, connection: Any, protocol: asyncio.Protocol, family: Streams, timeout: float
    ) -> IrohStream:
        """The stream that the peer has yet to open, within `timeout` seconds.

        The protocol is told of it at once, so that whoever opens none is counted, and judged, like
        one who says nothing.
        """
        stream = cls(connection, protocol, family)
        family.tasks.spawn(stream._await_halves(), "wait for a stream")
        stream._too_late = stream._loop.call_later(timeout, stream._never_opened)
        stream._start()
        return stream

    def _start(self) -> None:
        self._family.open.add(self)
        self._tasks.spawn(self._watch(), "watch a connection")
        self._protocol.connection_made(self)

    async def _await_halves(self) -> None:
        """Ends with the connection, if not before: it is never cancelled (`Endpoint.made_by`)."""
        try:
            halves = await self._connection.accept_bi()
        except Exception as error:
            self._end(as_os_error(error), ABORTED)
            return
        if not self._ended:
            self._join(halves)

    def _never_opened(self) -> None:
        self._end(TimeoutError("the peer opened no stream"), ABORTED)

    def _join(self, halves: Any) -> None:
        self._receiving, self._sending = halves.recv(), halves.send()
        if self._too_late is not None:
            self._too_late.cancel()
        self._loop.call_soon(self._read_on)
        self._flush()

    # The protocol on top

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the stream to another protocol; what is unread goes to it."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that now reads the stream."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`path`, a `PathInfo` of now; `peer`, the id of the endpoint at the other end."""
        if self._connection is None:
            return default
        if name == "path":
            return self._path() or default
        if name == "peer":
            return str(self._connection.remote_id())
        return default

    def _path(self) -> PathInfo | None:
        for path in self._connection.paths():
            if path.is_selected:
                return PathInfo("relayed" if path.is_relay else "direct", path.rtt_ms / 1000)
        return None

    # Reading

    def is_reading(self) -> bool:
        """Whether received bytes are delivered."""
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""
        self._paused = True

    def resume_reading(self) -> None:
        """Deliver what has come and what will come."""
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Deliver what is there, and leave a read under way for what is not."""
        for _ in range(READS_A_TURN):
            if self._paused or self._closing or self._read_eof or self._read is not None:
                return
            data, self._unread = self._unread, None
            if data is None:
                data = self._begin()
            if data is None:
                return
            self._deliver(data)
        self._loop.call_soon(self._read_on)

    def _begin(self) -> bytes | None:
        """Begin a read; its bytes, if they were there already."""
        if self._receiving is None:
            return None
        try:
            answer = self._begin_read(self._receiving, READ_SIZE, self._read_answered)
        except Exception as error:
            self._end(as_os_error(error), ABORTED)
            return None
        if isinstance(answer, bytes):
            return answer
        self._read = answer
        return None

    def _read_answered(self, data: bytes, error: BaseException | None) -> None:
        self._read = None
        if self._ended:
            return
        if error is not None:
            self._end(as_os_error(error), ABORTED)
        else:
            self._unread = data
            self._read_on()

    def _deliver(self, data: bytes) -> None:
        try:
            if data:
                self._protocol.data_received(data)
            else:
                self._read_eof = True
                if not self._protocol.eof_received():
                    self.close()
                self._notice_gone()
        except Exception as error:
            self._fault(error)

    def _fault(self, error: Exception) -> None:
        """The protocol raised: that is the end of this connection, and of no other."""
        context = {"message": "a protocol failed", "exception": error, "transport": self}
        self._loop.call_exception_handler(context)
        self.abort()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; dropped silently once the stream is closing."""
        if self._closing:
            return
        if self._wrote_eof:
            raise RuntimeError("cannot write after write_eof()")
        if not data:
            return
        self._outbox.add(data)
        if self._write is None and self._flush_soon is None:
            # Whatever else is written in this turn of the loop goes along.
            self._flush_soon = self._loop.call_soon(self._flush)
        self._check_level()

    def _flush(self) -> None:
        """Hand the queue over, until a piece of it has to wait."""
        self._flush_soon = None
        while self._outbox.waits and self._write is None and self._sending is not None:
            pieces = self._outbox.take()
            try:
                answer = self._begin_write(self._sending, pieces, self._write_answered)
            except Exception as error:
                self._end(as_os_error(error), ABORTED)
                return
            if isinstance(answer, bytes):
                self._outbox.written()
            else:
                self._write = answer
        self._check_level()
        self._finish_if_sent()

    def _write_answered(self, _nothing: bytes, error: BaseException | None) -> None:
        self._write = None
        if self._ended:
            return
        self._outbox.written()
        if error is not None:
            self._end(as_os_error(error), ABORTED)
        else:
            self._flush()

    def _check_level(self) -> None:
        outbox = self._outbox
        try:
            if not self._full and len(outbox) > outbox.high:
                self._full = True
                self._protocol.pause_writing()
            elif self._full and len(outbox) <= outbox.low:
                self._full = False
                self._protocol.resume_writing()
        except Exception as error:
            self._fault(error)

    def can_write_eof(self) -> bool:
        """Half-close is supported."""
        return True

    def write_eof(self) -> None:
        """End our direction after what was written."""
        if not self._wrote_eof and not self._closing:
            self._wrote_eof = True
            self._finish_if_sent()

    def _finish_if_sent(self) -> None:
        over = self._wrote_eof or self._closing
        sent = not self.get_write_buffer_size() and self._sending is not None
        if over and sent and not self._finishing and not self._ended:
            self._finishing = True
            self._tasks.spawn(self._finish(), "finish a stream")

    async def _finish(self) -> None:
        # Stopped or closed by the peer already: the read or the watch says so.
        with contextlib.suppress(Exception):
            await self._sending.finish()
        if self._closing:
            self._end(None, DONE)

    def get_write_buffer_size(self) -> int:
        """Bytes that QUIC has not taken yet."""
        return len(self._outbox)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark, in bytes."""
        return self._outbox.low, self._outbox.high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes; 256 KiB by default, and a quarter of it."""
        self._outbox.set_limits(high, low)
        self._check_level()

    # Ending

    def is_closing(self) -> bool:
        """Whether the stream is closing or closed."""
        return self._closing

    def close(self) -> None:
        """End both directions; what was written still arrives."""
        if self._closing:
            return
        self._closing = True
        self._give_up_read()
        never_opened = self._sending is None and not self._outbox.waits
        if never_opened or self._finishing:
            self._end(None, DONE)
        else:
            self._finish_if_sent()

    def abort(self) -> None:
        """End at once; the peer sees an error, and what is still queued here is lost."""
        if self._ended:
            return
        if self._flush_soon is not None:
            self._flush_soon.cancel()
            self._flush()  # a last word, such as SSH's goodbye
        self._end(None, ABORTED)

    def _give_up_read(self) -> None:
        if self._read is not None:
            self._read.cancel()
            self._read = None

    def _end(self, error: OSError | None, code: int) -> None:
        if self._ended:
            return
        self._ended = self._closing = True
        self._family.open.discard(self)
        self._give_up_read()
        if self._write is not None:
            self._write.cancel()
            self._write = None
        for timer in (self._flush_soon, self._too_late):
            if timer is not None:
                timer.cancel()
        self._unread = None
        self._outbox.clear()
        if self._family.closed:
            self._let_go(code)
        else:
            self._tasks.spawn(self._part(code), "part from a peer")
        self._loop.call_soon(self._protocol.connection_lost, error)

    async def _part(self, code: int) -> None:
        try:
            with contextlib.suppress(Exception):
                await (self._linger() if code == DONE else self._goodbye())
        finally:
            self._let_go(code)

    def _let_go(self, code: int) -> None:
        self._connection.close(code, b"")
        # Each of these keeps the endpoint's socket open.
        self._receiving = self._sending = self._connection = None

    async def _linger(self) -> None:
        """Until the peer has confirmed our last byte."""
        if self._sending is not None:
            async with asyncio.timeout(LINGER):
                await self._sending.stopped()

    async def _goodbye(self) -> None:
        round_trip = (self._connection.rtt() or 0) / 1000
        await asyncio.sleep(min(LINGER, max(GOODBYE, 2 * round_trip)))

    async def _watch(self) -> None:
        self._gone = await self._connection.closed()
        self._notice_gone()

    def _notice_gone(self) -> None:
        """Tell of the connection's end where no read does, which would bring what came before."""
        if self._gone is None or self._ended or self._read is not None:
            return
        clean = self._gone == f"closed by peer: {DONE}"
        if self._read_eof:
            clean = clean and not self.get_write_buffer_size()
            self._end(None if clean else os_error(self._gone), ABORTED)
        elif self._paused and not clean:
            self._end(os_error(self._gone), ABORTED)  # who is gone cannot be waited for
