"""The short cuts do what the binding's own methods do, in fewer steps; and give way to them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import iroh.iroh_ffi as generated
import pytest

from tests.transports.iroh.conftest import Pair
from wraith.transports.iroh import calls, shortcuts
from wraith.transports.iroh.shortcuts import NAMES, Shortcuts, fastest, missing


def test_the_installed_binding_has_every_name() -> None:
    assert missing(generated) is None
    assert fastest() != (calls.read, calls.write)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_missed(name: str) -> None:
    class Without:
        """The generated module without one name."""

        def __init__(self, place: Any, path: str) -> None:
            self._place, self._path = place, path

        def __getattr__(self, part: str) -> Any:
            path = f"{self._path}.{part}".lstrip(".")
            if path == name:
                raise AttributeError(part)
            return Without(getattr(self._place, part), path)

    assert missing(Without(generated, "")) == name


def test_without_a_name_the_plain_calls_do_the_work_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shortcuts, "NAMES", (*NAMES, "RecvStream.no_such_method"))
    fastest.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert fastest() == (calls.read, calls.write)
            fastest()
    finally:
        fastest.cache_clear()
    (record,) = caplog.records
    assert "the iroh short cuts are off missing=RecvStream.no_such_method" in record.getMessage()


class Halves:
    """The two halves of a stream, with the reading and writing of the stream stopped."""

    def __init__(self, pair: Pair) -> None:
        for stream in (pair.here, pair.there):
            stream.pause_reading()
        self.sending: Any = pair.here._sending
        self.receiving: Any = pair.there._receiving
        self.stream = pair.there


@pytest.fixture
async def halves(pair: Pair) -> AsyncIterator[Halves]:
    """The far side's read that is under way is given up, so that ours is the only one."""
    made = Halves(pair)
    pair.there._give_up_read()
    yield made
    made.sending = made.receiving = None  # each keeps the socket open


class Answer:
    """Waits for what a call answers later."""

    def __init__(self) -> None:
        self._future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.thread = 0

    def __call__(self, data: bytes, error: BaseException | None) -> None:
        self.thread = threading.get_ident()
        if error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(data)

    async def of(self, begun: object) -> bytes:
        """The answer of a call that was begun with this."""
        if isinstance(begun, bytes):
            return begun
        return await asyncio.wait_for(self._future, 5)


@pytest.fixture(params=["short cuts", "plain calls"])
def ways(request: pytest.FixtureRequest) -> tuple[calls.Read, calls.Write]:
    if request.param == "plain calls":
        return calls.read, calls.write
    made = Shortcuts(generated)
    return made.read, made.write


SIZES = [1, 2, 100, 4096, 65535, 65536, 65537, 300_000]


@pytest.mark.parametrize("size", SIZES)
async def test_what_one_writes_the_other_reads(
    halves: Halves, ways: tuple[calls.Read, calls.Write], size: int
) -> None:
    read, write = ways
    payload = os.urandom(size)
    pieces = [payload[: size // 3], payload[size // 3 : size // 2], payload[size // 2 :]]
    done = Answer()
    assert await done.of(write(halves.sending, pieces, done)) == b""
    received = b""
    while len(received) < size:
        done = Answer()
        piece = await done.of(read(halves.receiving, 65536, done))
        assert 0 < len(piece) <= 65536
        received += piece
    assert received == payload


async def test_the_end_of_the_stream_is_nothing(
    halves: Halves, ways: tuple[calls.Read, calls.Write]
) -> None:
    await halves.sending.finish()
    for _ in range(2):
        done = Answer()
        assert await done.of(ways[0](halves.receiving, 10, done)) == b""


async def test_a_read_that_has_to_wait_is_answered_in_the_loop(
    halves: Halves, ways: tuple[calls.Read, calls.Write]
) -> None:
    done = Answer()
    begun = ways[0](halves.receiving, 10, done)
    assert not isinstance(begun, bytes)
    await asyncio.sleep(0.05)
    await halves.sending.write_all(b"late")
    assert await done.of(begun) == b"late"
    assert done.thread == threading.get_ident()


async def test_what_is_there_is_answered_at_once_by_the_short_cuts(halves: Halves) -> None:
    made = Shortcuts(generated)
    await halves.sending.write_all(b"x" * 1000)
    await asyncio.sleep(0.1)
    assert made.read(halves.receiving, 65536, Answer()) == b"x" * 1000
    assert made.write(halves.sending, [b"y"], Answer()) == b""
    assert made._waiting == {}


async def test_an_error_is_the_bindings_own(
    halves: Halves, ways: tuple[calls.Read, calls.Write]
) -> None:
    done = Answer()
    begun = ways[0](halves.receiving, 10, done)
    await halves.sending.reset(7)
    with pytest.raises(generated.IrohError) as caught:
        await done.of(begun)
    assert "Reset(7)" in caught.value.message()
    del caught, done, begun
    gc.collect()  # the frames of the error keep the socket open


async def test_a_call_that_was_given_up_is_never_answered_and_another_may_follow(
    halves: Halves, ways: tuple[calls.Read, calls.Write]
) -> None:
    for _ in range(20):
        never = Answer()
        begun = ways[0](halves.receiving, 10, never)
        assert not isinstance(begun, bytes)
        begun.cancel()
        begun.cancel()
        await asyncio.sleep(0)
    await halves.sending.write_all(b"for the last")
    done = Answer()
    assert await done.of(ways[0](halves.receiving, 65536, done)) == b"for the last"
    assert not never._future.done()


async def test_a_write_that_waits_for_room_can_be_given_up(
    halves: Halves, ways: tuple[calls.Read, calls.Write]
) -> None:
    never = Answer()
    begun = ways[1](halves.sending, [bytes(4_000_000)], never)
    assert not isinstance(begun, bytes)
    await asyncio.sleep(0.05)
    begun.cancel()
    await asyncio.sleep(0.05)
    assert not never._future.done()


async def test_an_answer_that_comes_after_the_loop_has_closed_is_dropped() -> None:
    made = Shortcuts(generated)
    call = shortcuts._Call(made, 0, (None, None, None), lambda _: b"", Answer())

    def closed(*_arguments: object) -> None:
        raise RuntimeError("Event loop is closed")

    call._loop = SimpleNamespace(call_soon_threadsafe=closed)  # type: ignore[assignment]
    call.polled(True)
    made._polled(12345, 0)  # and one for nobody is nobody's
    call._ended = True
    call._woken(True)
