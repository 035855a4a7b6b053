"""A connected socket as a stream: every promise of a stream, under every loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.loops import LOOPS, NewLoop, run_under
from tests.support.sockets import reset, small_buffers, tcp_pair
from wraith.streams.hub import running_hub
from wraith.streams.socket_stream import HIGH_WATER, SocketStream, open_socket_stream
from wraith.testing import PROMISES, MakePair, Recorder


async def stream_pair(
    left: asyncio.Protocol, right: asyncio.Protocol
) -> tuple[asyncio.Transport, asyncio.Transport]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return await open_socket_stream(near, left), await open_socket_stream(far, right)


async def tcp_stream_pair(
    left: asyncio.Protocol, right: asyncio.Protocol
) -> tuple[asyncio.Transport, asyncio.Transport]:
    with tcp_pair() as (near, far):
        far.setblocking(False)
        streams = [
            await open_socket_stream(socket.socket(fileno=sock.detach()), protocol)
            for sock, protocol in ((near, left), (far, right))
        ]
    return streams[0], streams[1]


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("make", [stream_pair, tcp_stream_pair])
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_it_keeps_every_promise_of_a_stream(
    promise: Callable[[MakePair], Coroutine[Any, Any, None]], make: MakePair, new_loop: NewLoop
) -> None:
    assert run_under(new_loop, promise(make)).contexts == []


async def made(protocol: asyncio.Protocol | None = None) -> tuple[SocketStream, Recorder, Any]:
    """A stream, its protocol, and the other end as a plain socket."""
    with tcp_pair() as (near, far):
        recorder = protocol if protocol is not None else Recorder()
        stream = SocketStream(socket.socket(fileno=near.detach()), recorder)
        return stream, recorder, socket.socket(fileno=far.detach())  # type: ignore[return-value]


async def test_a_paused_stream_leaves_the_hub_and_learns_of_a_reset_when_it_reads_again() -> None:
    stream, recorder, far = await made()
    stream.pause_reading()
    assert stream._fd not in running_hub()._hot  # type: ignore[attr-defined]
    reset(far)
    await asyncio.sleep(0.01)
    assert not recorder.lost.done()
    stream.resume_reading()
    assert isinstance(await recorder.until_lost(), ConnectionResetError)


async def test_a_paused_stream_that_has_bytes_to_send_learns_of_a_reset_at_once() -> None:
    stream, recorder, far = await made()
    small_buffers(stream.get_extra_info("socket"))
    stream.pause_reading()
    stream.write(b"x" * 10_000_000)
    reset(far)
    assert isinstance(await recorder.until_lost(), OSError)
    assert stream.get_write_buffer_size() == 0


async def test_trouble_on_a_stream_that_reads_nothing_ends_it() -> None:
    stream, recorder, far = await made()
    stream.pause_reading()
    stream._ready(8)
    assert isinstance(await recorder.until_lost(), ConnectionResetError)
    far.close()


async def test_the_end_is_told_once_whatever_is_resumed() -> None:
    stream, recorder, far = await made()
    far.shutdown(socket.SHUT_WR)
    await recorder.until_eof()
    stream.pause_reading()
    stream.resume_reading()
    await asyncio.sleep(0.01)  # the recorder fails on a second end-of-file
    assert not stream.is_reading()
    assert not stream.is_closing()
    stream.close()
    assert await recorder.until_lost() is None
    far.close()


async def test_a_protocol_that_raises_ends_its_stream_and_is_reported() -> None:
    class Faulty(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
    _, recorder, far = await made(Faulty())
    far.sendall(b"x")
    await recorder.until_lost()
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
    far.close()


@pytest.mark.parametrize("fault", ["pause_writing", "resume_writing"])
async def test_a_protocol_that_cannot_be_paused_ends_its_stream_and_is_reported(
    fault: str,
) -> None:
    class Faulty(Recorder):
        def pause_writing(self) -> None:
            if fault == "pause_writing":
                raise ZeroDivisionError

        def resume_writing(self) -> None:
            if fault == "resume_writing":
                raise ZeroDivisionError

    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
    stream, recorder, far = await made(Faulty())
    stream.write(b"x" * 20_000_000)
    far.setblocking(False)
    while not recorder.lost.done():
        with contextlib.suppress(BlockingIOError):
            far.recv(1 << 20)
        await asyncio.sleep(0)
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
    far.close()


async def test_a_protocol_that_cannot_begin_leaves_nothing_in_the_hub() -> None:
    class Faulty(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise ZeroDivisionError

    with tcp_pair() as (near, _far):
        with pytest.raises(ZeroDivisionError):
            SocketStream(near, Faulty())
        assert near.fileno() not in running_hub()._hot  # type: ignore[attr-defined]


async def test_marks_decide_when_the_writer_is_paused() -> None:
    stream, recorder, far = await made()
    assert stream.get_write_buffer_limits() == (HIGH_WATER // 4, HIGH_WATER)
    stream.set_write_buffer_limits(high=1 << 30)
    stream.write(b"x" * 20_000_000)
    assert recorder.writable.is_set()
    stream.set_write_buffer_limits(high=10, low=5)
    assert stream.get_write_buffer_limits() == (5, 10)
    stream.write(b"y")
    assert not recorder.writable.is_set()
    stream.abort()
    await recorder.until_lost()
    far.close()


async def test_a_socket_can_be_given_away_and_nobody_is_told() -> None:
    stream, recorder, far = await made()
    sock = stream.detach()
    assert sock is not None
    assert stream.is_closing()
    assert repr(stream) == "<SocketStream closed reading=False unsent=0>"
    far.sendall(b"for the new owner")
    await asyncio.sleep(0.01)
    assert sock.recv(100) == b"for the new owner"
    assert not recorder.received
    assert not recorder.lost.done()
    assert stream.detach() is None
    sock.close()
    far.close()


async def test_a_socket_with_bytes_to_send_is_not_given_away() -> None:
    stream, recorder, far = await made()
    stream.write(b"x" * 20_000_000)
    assert stream.detach() is None
    stream.abort()
    await recorder.until_lost()
    far.close()


async def test_it_tells_who_is_at_the_other_end_as_long_as_there_is_one() -> None:
    stream, recorder, far = await made()
    assert stream.get_extra_info("peername") == far.getsockname()
    assert stream.get_extra_info("sockname") == far.getpeername()
    assert stream.get_extra_info("socket").fileno() == stream._fd
    assert stream.get_extra_info("sslcontext", "none") == "none"
    reset(far)
    assert isinstance(await recorder.until_lost(), OSError)
    assert stream.get_extra_info("peername", "gone") == "gone"
    assert stream.get_extra_info("socket") is None


async def test_writing_to_a_peer_that_has_gone_ends_the_stream() -> None:
    stream, recorder, far = await made()
    reset(far)
    stream.write(b"x")
    stream.write(b"y")
    assert isinstance(await recorder.until_lost(), OSError)
    stream.write_eof()
    stream.resume_reading()
    stream.close()
    stream.abort()


async def test_a_write_after_the_end_is_a_mistake() -> None:
    stream, recorder, far = await made()
    stream.write_eof()
    stream.write_eof()
    with pytest.raises(RuntimeError, match="write_eof"):
        stream.write(b"x")
    stream.close()
    await recorder.until_lost()
    far.close()


async def test_an_end_that_is_written_behind_a_backlog_comes_after_it() -> None:
    stream, recorder, far = await made()
    stream.write(b"x" * 20_000_000)
    stream.write_eof()
    far.setblocking(False)
    received = 0
    while True:
        try:
            piece = far.recv(1 << 20)
        except BlockingIOError:
            await asyncio.sleep(0)
            continue
        if not piece:
            break
        received += len(piece)
    assert received == 20_000_000
    stream.close()
    await recorder.until_lost()
    far.close()


async def test_on_a_loop_that_cannot_watch_descriptors_it_is_the_loops_own_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cannot(*_args: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(running_hub(), "add", cannot)
    left, right = Recorder(), Recorder()
    near, _ = await tcp_stream_pair(left, right)
    assert not isinstance(near, SocketStream)
    near.write(b"hello")
    assert await right.until_received(5) == b"hello"
    near.close()
    right.stream.close()
    await asyncio.gather(left.until_lost(), right.until_lost())
