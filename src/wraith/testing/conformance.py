"""What every stream promises, whatever carries it.

A promise is a coroutine function that takes a maker of connected pairs and asserts one thing. A
transport earns its place by keeping all of `PROMISES`:

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    async def test_my_stream_keeps(promise): await promise(make_my_pair)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

MakePair: TypeAlias = Callable[
    [asyncio.Protocol, asyncio.Protocol],
    Awaitable[tuple[asyncio.Transport, asyncio.Transport]],
]
"""Makes two streams joined to each other, each with its protocol set."""

Promise: TypeAlias = Callable[[MakePair], Awaitable[None]]

PATIENCE = 10.0  # seconds for anything to happen
UNREAD_BOUND = 16 * 1024 * 1024
"""Bytes that a writer may get rid of while nobody reads: windows and kernel buffers together."""


class Recorder(asyncio.Protocol):
    """A protocol that remembers what happened to it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.stream: asyncio.Transport
        self.got_eof = asyncio.Event()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.writable = asyncio.Event()
        self.writable.set()
        self._arrived = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the stream."""
        assert isinstance(transport, asyncio.Transport)
        self.stream = transport

    def data_received(self, data: bytes) -> None:
        """Remember the bytes."""
        assert not self.got_eof.is_set(), "bytes after the end-of-file"
        self.received += data
        self._arrived.set()

    def eof_received(self) -> bool:
        """Remember the end; keep our direction open."""
        assert not self.got_eof.is_set(), "a second end-of-file"
        self.got_eof.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember how it ended."""
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        """The stream is full."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """The stream has room."""
        self.writable.set()

    async def until_received(self, count: int) -> bytes:
        """Wait for `count` bytes in all."""
        async with asyncio.timeout(PATIENCE):
            while len(self.received) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return bytes(self.received)

    async def until_eof(self) -> bytes:
        """Wait for the end-of-file; all that came before it."""
        await asyncio.wait_for(self.got_eof.wait(), PATIENCE)
        return bytes(self.received)

    async def until_lost(self) -> BaseException | None:
        """Wait for the end of the stream, and tell how it came."""
        return await asyncio.wait_for(asyncio.shield(self.lost), PATIENCE)


async def _pair(make: MakePair) -> tuple[Recorder, Recorder]:
    left, right = Recorder(), Recorder()
    await make(left, right)
    return left, right


async def _end(*recorders: Recorder) -> None:
    for recorder in recorders:
        recorder.stream.close()
    for recorder in recorders:
        await recorder.until_lost()


async def bytes_arrive_in_order_both_ways(make: MakePair) -> None:
    """Whatever the sizes of the writes."""
    left, right = await _pair(make)
    pieces = [bytes([n % 251]) * size for n, size in enumerate([1, 0, 7, 4096, 70_000, 1, 300_000])]
    for piece in pieces:
        left.stream.write(piece)
        right.stream.write(piece[::-1])
    whole, reversed_whole = b"".join(pieces), b"".join(piece[::-1] for piece in pieces)
    assert await right.until_received(len(whole)) == whole
    assert await left.until_received(len(whole)) == reversed_whole
    await _end(left, right)


async def a_half_close_lets_the_other_side_answer(make: MakePair) -> None:
    """The end of one direction is not the end of the other."""
    left, right = await _pair(make)
    assert left.stream.can_write_eof()
    left.stream.write(b"question")
    left.stream.write_eof()
    assert await right.until_eof() == b"question"
    assert not left.lost.done()
    right.stream.write(b"answer")
    right.stream.write_eof()
    assert await left.until_eof() == b"answer"
    await _end(left, right)
    assert left.lost.result() is None
    assert right.lost.result() is None


async def what_was_written_before_close_arrives(make: MakePair) -> None:
    """Close is not abort."""
    left, right = await _pair(make)
    payload = b"x" * 200_000
    left.stream.write(payload)
    left.stream.close()
    assert left.stream.is_closing()
    assert await right.until_eof() == payload
    await _end(right)
    await left.until_lost()


async def closing_twice_ends_once(make: MakePair) -> None:
    """And aborting afterwards adds nothing."""
    left, right = await _pair(make)
    left.stream.close()
    left.stream.close()
    left.stream.abort()
    await left.until_lost()
    left.stream.close()
    right.stream.abort()
    await right.until_lost()


async def an_abort_ends_both_sides(make: MakePair) -> None:
    """The side that aborts sees no error; the other sees its stream end."""
    left, right = await _pair(make)
    left.stream.abort()
    assert await left.until_lost() is None
    async with asyncio.timeout(PATIENCE):
        while not right.got_eof.is_set() and not right.lost.done():
            await asyncio.sleep(0.01)
    right.stream.abort()
    await right.until_lost()


async def writes_after_close_are_dropped(make: MakePair) -> None:
    """As asyncio's own sockets do; nobody is surprised by an exception in a callback."""
    left, right = await _pair(make)
    left.stream.write(b"before")
    left.stream.close()
    left.stream.write(b"after")
    assert await right.until_eof() == b"before"
    await _end(right)
    await left.until_lost()
    left.stream.write(b"long after")


async def an_unread_stream_holds_bounded_memory(make: MakePair) -> None:
    """The writer is asked to pause, and what it got rid of is bounded."""
    left, right = await _pair(make)
    right.stream.pause_reading()
    assert not right.stream.is_reading()
    piece = b"y" * 65536
    sent = 0
    while True:
        try:
            await asyncio.wait_for(left.writable.wait(), 0.3)
        except TimeoutError:
            break
        left.stream.write(piece)
        sent += len(piece)
        assert sent < UNREAD_BOUND, "the writer was never asked to pause"
    held = len(right.received)
    right.stream.resume_reading()
    assert len(await right.until_received(sent)) == sent
    assert held < sent
    await asyncio.wait_for(left.writable.wait(), PATIENCE)
    await _end(left, right)


async def a_paused_reader_gets_nothing_and_then_everything(make: MakePair) -> None:
    """Including the end."""
    left, right = await _pair(make)
    right.stream.pause_reading()
    left.stream.write(b"later")
    left.stream.write_eof()
    await asyncio.sleep(0.1)
    assert not right.received
    assert not right.got_eof.is_set()
    right.stream.resume_reading()
    assert await right.until_eof() == b"later"
    await _end(left, right)


async def another_protocol_can_take_over(make: MakePair) -> None:
    """What comes after `set_protocol` goes to the new one."""
    left, right = await _pair(make)
    left.stream.write(b"first")
    await right.until_received(5)
    successor = Recorder()
    right.stream.set_protocol(successor)
    assert right.stream.get_protocol() is successor
    successor.connection_made(right.stream)
    left.stream.write(b"second")
    assert await successor.until_received(6) == b"second"
    assert bytes(right.received) == b"first"
    await _end(left, successor)


PROMISES: tuple[Promise, ...] = (
    bytes_arrive_in_order_both_ways,
    a_half_close_lets_the_other_side_answer,
    what_was_written_before_close_arrives,
    closing_twice_ends_once,
    an_abort_ends_both_sides,
    writes_after_close_are_dropped,
    an_unread_stream_holds_bounded_memory,
    a_paused_reader_gets_nothing_and_then_everything,
    another_protocol_can_take_over,
)
