"""Accepting connections: one bad guest, or no descriptor left, must not close the door."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import LOOPS, NewLoop, run_under
from wraith.streams import accepting
from wraith.streams.accepting import Factory, SocketAcceptor
from wraith.testing import Recorder


@asynccontextmanager
async def acceptor(factory: Factory) -> AsyncIterator[tuple[SocketAcceptor, tuple[str, int]]]:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    accepting_there = SocketAcceptor(sock, factory)
    try:
        yield accepting_there, sock.getsockname()
    finally:
        accepting_there.close()
        accepting_there.close()
        assert repr(accepting_there) == "<SocketAcceptor closed>"


class Guests:
    """A factory of recorders that can be waited for."""

    def __init__(self) -> None:
        self.came: list[Recorder] = []

    def __call__(self) -> Recorder:
        self.came.append(Recorder())
        return self.came[-1]

    async def are(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.came) < count:
                await asyncio.sleep(0.001)

    async def leave(self) -> None:
        for guest in self.came:
            guest.stream.abort()
            await guest.until_lost()


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_every_connection_gets_a_protocol_of_its_own(new_loop: NewLoop) -> None:
    async def work() -> None:
        guests = Guests()
        async with acceptor(guests) as (there, address):
            assert repr(there) == "<SocketAcceptor open>"
            with socket.create_connection(address) as one, socket.create_connection(address) as two:
                one.sendall(b"one")
                two.sendall(b"two")
                await guests.are(2)
                received = {await guest.until_received(3) for guest in guests.came}
                assert received == {b"one", b"two"}
                sock = guests.came[0].stream.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                await guests.leave()

    assert run_under(new_loop, work()).contexts == []


async def test_a_crowd_is_let_in_by_and_by() -> None:
    guests = Guests()
    async with acceptor(guests) as (_, address):
        crowd = [socket.create_connection(address) for _ in range(accepting.AT_ONCE + 10)]
        await guests.are(len(crowd))
        for one in crowd:
            one.close()
        await guests.leave()


async def test_a_guest_that_cannot_be_greeted_closes_the_door_for_nobody_else() -> None:
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
    guests, faults = Guests(), [ZeroDivisionError(), OSError(errno.EINVAL, "gone")]

    def factory() -> Recorder:
        if faults:
            raise faults.pop(0)
        return guests()

    async with acceptor(factory) as (_, address):
        turned_away = [socket.create_connection(address) for _ in range(2)]
        with socket.create_connection(address):
            await guests.are(1)
            await guests.leave()
        for one in turned_away:
            assert one.recv(1) == b""
            one.close()
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process has as many descriptors as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    spare: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                spare.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for fd in spare:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_a_descriptor_it_stops_says_so_and_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.05)
    guests = Guests()
    async with acceptor(guests) as (there, address):
        client = socket.socket()
        with no_descriptor_left():
            client.connect(address)
            async with asyncio.timeout(10):
                while not caplog.records:
                    await asyncio.sleep(0.001)
            assert repr(there) == "<SocketAcceptor paused>"
            assert guests.came == []
        await guests.are(1)
        await guests.leave()
        client.close()
    (record,) = caplog.records[:1]
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith('accepting paused reason="Too many open files"')


async def test_it_may_be_closed_while_it_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async with acceptor(Guests()) as (there, _):
        there._out_of_resources(OSError(errno.EMFILE, "none"))
        assert repr(there) == "<SocketAcceptor paused>"
