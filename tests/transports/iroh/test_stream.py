"""What the promises of every stream do not say: how QUIC's own ways of ending are told."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest

from tests.transports.iroh.conftest import Pair, Server
from wraith.testing import Recorder
from wraith.transports.base import PathInfo
from wraith.transports.iroh import accepting, stream
from wraith.transports.iroh.connecting import IrohTransport
from wraith.transports.iroh.outbox import WRITE_SIZE
from wraith.transports.iroh.stream import ABORTED, DONE, IrohStream


async def test_the_path_and_the_peer_are_known_while_there_is_a_connection(pair: Pair) -> None:
    path = pair.here.get_extra_info("path")
    assert isinstance(path, PathInfo)
    assert path.kind == "direct"
    assert 0 <= path.round_trip < 1
    assert str(PathInfo("relayed", 0.0123)) == "relayed 12 ms"
    assert len(pair.here.get_extra_info("peer")) == 64
    assert pair.here.get_extra_info("socket") is None
    assert pair.here.get_extra_info("socket", "none") == "none"
    pair.here.abort()
    await pair.left.until_lost()
    async with asyncio.timeout(5):
        while pair.here.get_extra_info("path") is not None:
            await asyncio.sleep(0.01)
    assert pair.here.get_extra_info("peer", "gone") == "gone"


async def test_it_says_what_state_it_is_in(pair: Pair) -> None:
    assert repr(pair.here) == "<IrohStream open reading=True unsent=0>"
    pair.there.pause_reading()
    pair.here.write(bytes(4_000_000))
    pair.here.close()
    assert repr(pair.here).startswith("<IrohStream closing reading=False unsent=")
    pair.here.abort()
    assert repr(pair.here) == "<IrohStream closed reading=False unsent=0>"


async def test_an_abort_is_an_error_at_the_other_end_after_the_last_words(pair: Pair) -> None:
    for _ in range(20):
        pair.here.write(b"bye")
    pair.here.abort()
    assert await pair.left.until_lost() is None
    assert isinstance(await pair.right.until_lost(), ConnectionResetError)
    assert bytes(pair.right.received) == b"bye" * 20
    assert not pair.right.got_eof.is_set()


async def test_an_abort_is_noticed_by_a_reader_that_has_paused(pair: Pair) -> None:
    pair.there.pause_reading()
    pair.here.abort()
    assert isinstance(await pair.right.until_lost(), ConnectionResetError)


async def test_an_abort_is_noticed_after_the_end_of_file(pair: Pair) -> None:
    pair.here.write_eof()
    await pair.right.until_eof()
    pair.here.abort()
    assert isinstance(await pair.right.until_lost(), ConnectionResetError)


async def test_a_clean_close_waits_for_a_reader_that_has_paused(pair: Pair) -> None:
    pair.there.pause_reading()
    pair.here.write(b"x" * 100_000)
    pair.here.close()
    assert await pair.left.until_lost() is None
    await asyncio.sleep(0.3)
    assert not pair.right.lost.done()
    pair.there.resume_reading()
    assert await pair.right.until_eof() == b"x" * 100_000
    assert await pair.right.until_lost() is None


async def test_a_clean_close_after_both_ends_of_file_is_no_error(pair: Pair) -> None:
    pair.here.write_eof()
    await pair.right.until_eof()
    pair.there.write_eof()
    await pair.left.until_eof()
    pair.here.close()
    assert await pair.left.until_lost() is None
    assert await pair.right.until_lost() is None


async def test_a_clean_close_with_something_unsent_is_an_error(pair: Pair) -> None:
    pair.left.stream.pause_reading()
    pair.there.write(bytes(4_000_000))
    pair.here.write_eof()
    await pair.right.until_eof()
    assert pair.there.get_write_buffer_size() > 0
    pair.here.close()
    assert isinstance(await pair.right.until_lost(), OSError)


async def test_a_write_that_is_under_way_ends_with_the_connection(pair: Pair) -> None:
    pair.there.pause_reading()
    pair.here.write(bytes(4_000_000))
    await asyncio.sleep(0.1)
    assert pair.here.get_write_buffer_size() > 0
    pair.here.pause_reading()
    pair.there.abort()
    assert isinstance(await pair.left.until_lost(), OSError)


async def test_a_close_with_something_unsent_still_sends_it(pair: Pair) -> None:
    pair.there.pause_reading()
    payload = bytes(range(256)) * 16_000
    pair.here.write(payload)
    pair.here.close()
    await asyncio.sleep(0.1)
    assert not pair.left.lost.done()
    pair.there.resume_reading()
    assert await pair.right.until_eof() == payload
    assert await pair.left.until_lost() is None


async def test_an_end_of_file_comes_after_what_is_queued(pair: Pair) -> None:
    pair.there.pause_reading()
    pair.here.write(bytes(4_000_000))
    pair.here.write_eof()
    pair.here.write_eof()
    with pytest.raises(RuntimeError):
        pair.here.write(b"more")
    pair.there.resume_reading()
    assert len(await pair.right.until_eof()) == 4_000_000
    pair.here.close()
    pair.here.write_eof()
    assert await pair.left.until_lost() is None


async def test_many_small_writes_cross_together_and_in_order(pair: Pair) -> None:
    calls: list[int] = []
    begin = pair.here._begin_write

    def counted(half: Any, pieces: Any, done: Any) -> Any:
        calls.append(sum(map(len, pieces)))
        return begin(half, pieces, done)

    pair.here._begin_write = counted
    whole = b"".join(number.to_bytes(4, "big") for number in range(100_000))
    for at in range(0, len(whole), 4):
        pair.here.write(whole[at : at + 4])
    assert await pair.right.until_received(len(whole)) == whole
    assert len(calls) <= 4
    assert max(calls) <= WRITE_SIZE


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_any_buffer_is_taken_and_not_kept(pair: Pair, kind: type) -> None:
    original = bytearray(b"a" * (WRITE_SIZE + 10))
    pair.here.write(kind(original))
    pair.here.write(kind(b""))
    small = bytearray(b"b" * 10)
    pair.here.write(memoryview(small) if kind is memoryview else kind(small))
    original[:] = b"?" * len(original)
    small[:] = b"?" * 10
    expected = b"a" * (WRITE_SIZE + 10) + b"b" * 10
    assert await pair.right.until_received(len(expected)) == expected


async def test_the_marks_can_be_set_as_in_asyncio(pair: Pair) -> None:
    assert pair.here.get_write_buffer_limits() == (64 * 1024, 256 * 1024)
    pair.here.set_write_buffer_limits(high=8)
    assert pair.here.get_write_buffer_limits() == (2, 8)
    pair.here.set_write_buffer_limits(low=8)
    assert pair.here.get_write_buffer_limits() == (8, 32)
    pair.here.set_write_buffer_limits()
    pair.here.write(bytes(100_000))
    pair.here.set_write_buffer_limits(high=0)
    assert not pair.left.writable.is_set()
    await asyncio.wait_for(pair.left.writable.wait(), 5)


# The protocol on top


class Failing(asyncio.Protocol):
    """Raises where it is told to."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.lost = asyncio.get_running_loop().create_future()

    def _maybe(self, where: str) -> None:
        if where == self._where:
            raise ValueError(where)

    def data_received(self, data: bytes) -> None:
        self._maybe("data")

    def eof_received(self) -> bool:
        self._maybe("eof")
        return False

    def pause_writing(self) -> None:
        self._maybe("pause")

    def resume_writing(self) -> None:
        self._maybe("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@pytest.mark.parametrize("where", ["data", "eof", "pause", "resume"])
async def test_a_protocol_that_fails_ends_its_own_connection(pair: Pair, where: str) -> None:
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    failing = Failing(where)
    pair.there.set_protocol(failing)
    assert pair.there.get_protocol() is failing
    if where in ("pause", "resume"):
        pair.there.write(bytes(300_000))
    else:
        pair.here.write(b"x")
        pair.here.write_eof()
    assert await asyncio.wait_for(failing.lost, 5) is None
    assert isinstance(await pair.left.until_lost(), ConnectionResetError)
    (complaint,) = complaints
    assert str(complaint["exception"]) == where


async def test_no_eof_handler_that_keeps_it_closes_the_stream(pair: Pair) -> None:
    pair.there.set_protocol(quiet := Failing("nowhere"))
    pair.here.write_eof()
    assert await asyncio.wait_for(quiet.lost, 5) is None
    await pair.left.until_eof()
    assert await pair.left.until_lost() is None


# A peer that opens no stream, or says nothing


async def test_a_stream_that_is_never_opened_ends_in_time(
    server: Server, transport: IrohTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "HANDSHAKE_TIMEOUT", 0.3)
    left = Recorder()
    await transport.connect(lambda: left, 5)
    right = await server.peer()
    right.stream.write(b"are you there")
    error = await right.until_lost()
    assert isinstance(error, TimeoutError)
    assert "no stream" in str(error)
    assert isinstance(await left.until_lost(), ConnectionResetError)


async def test_a_stream_that_is_not_open_yet_can_be_closed(
    server: Server, transport: IrohTransport
) -> None:
    left = Recorder()
    await transport.connect(lambda: left, 5)
    right = await server.peer()
    right.stream.close()
    assert await right.until_lost() is None
    assert isinstance(await left.until_lost(), ConnectionResetError)


async def test_a_stream_that_is_not_open_yet_keeps_what_is_written(
    server: Server, transport: IrohTransport
) -> None:
    left = Recorder()
    stream = await transport.connect(lambda: left, 5)
    right = await server.peer()
    right.stream.write(b"welcome")
    right.stream.close()
    await asyncio.sleep(0.05)
    assert not right.lost.done()
    stream.write(b"hello")
    assert await left.until_eof() == b"welcome"
    assert await right.until_lost() is None


async def test_a_peer_that_goes_before_it_opens_a_stream_is_noticed(
    server: Server, transport: IrohTransport
) -> None:
    left = Recorder()
    stream = await transport.connect(lambda: left, 5)
    right = await server.peer()
    stream.abort()
    assert isinstance(await right.until_lost(), ConnectionResetError)


# Trouble in the binding


@pytest.mark.parametrize("call", ["_begin_read", "_begin_write"])
async def test_a_call_that_fails_at_once_ends_the_stream(pair: Pair, call: str) -> None:
    class Gone(Exception):
        def message(self) -> str:
            return "ConnectionLost(TimedOut)"

    def fails(*_arguments: object) -> bytes:
        raise Gone

    setattr(pair.here, call, fails)
    if call == "_begin_write":
        pair.here.write(b"x")
    else:
        pair.there.write(b"y")
        await pair.left.until_received(1)
    assert isinstance(await pair.left.until_lost(), TimeoutError)


async def test_a_peer_that_never_confirms_is_not_waited_for_long(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LINGER", 0.1)
    pair.there.pause_reading()
    pair.here.write(b"z" * 1000)
    with mock.patch.object(type(pair.here._sending), "stopped", _never):
        pair.here.close()
        assert await pair.left.until_lost() is None
        await asyncio.sleep(0.3)
    assert pair.here._connection is None


async def _never(_half: object) -> None:
    await asyncio.sleep(3600)


def test_the_codes_are_what_peers_have_always_been_told() -> None:
    assert (DONE, ABORTED, stream.REFUSED) == (0, 1, 2)
    assert issubclass(IrohStream, asyncio.Transport)
