"""The stream between the parent and a worker: what must arrive, and what may be dropped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from wraith.protocol.worker_link import Copy, Message, Said, encode_said
from wraith.server.workers import link as link_module
from wraith.server.workers.link import Link
from wraith.streams.socket_stream import open_socket_stream


class End:
    """One end, and what it heard."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.dropped: list[int] = []
        self.lost = asyncio.Event()
        self.link = Link(self.heard.append, self.lost.set, self.dropped.append)

    async def hears(self, count: int) -> list[Message]:
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                await asyncio.sleep(0.005)
        return self.heard


@asynccontextmanager
async def one_end() -> AsyncIterator[tuple[End, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    end = End()
    await open_socket_stream(near, end.link)
    with far:
        yield end, far
    end.link.abort()
    async with asyncio.timeout(5):
        await end.lost.wait()


@asynccontextmanager
async def both() -> AsyncIterator[tuple[End, End]]:
    async with one_end() as (one, far):
        far.setblocking(False)
        two = End()
        await open_socket_stream(far.dup(), two.link)
        yield one, two
        two.link.abort()


async def test_both_hear_each_other_in_order() -> None:
    async with both() as (one, two):
        one.link.say("end", token=1)
        one.link.copy("a:b", b"{}")
        two.link.say("answer", number=3)
        assert await two.hears(2) == [Said("end", {"token": 1}), Copy("a:b", b"{}")]
        assert await one.hears(1) == [Said("answer", {"number": 3})]


async def test_an_end_that_talks_nonsense_is_lost() -> None:
    async with one_end() as (end, far):
        far.sendall(b"\0\0\0\1\7")
        async with asyncio.timeout(5):
            await end.lost.wait()
        assert repr(end.link) == "<Link closed dropped=0>"
        end.link.say("end")  # nobody there
        end.link.copy("a:b", b"")


async def test_copies_that_are_not_taken_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_module, "MAX_WAITING", 200_000)
    async with both() as (one, two):
        assert two.link._stream is not None
        two.link._stream.pause_reading()
        for number in range(3000):
            one.link.copy("a:", str(number).encode() + b" " * 1000)
        assert one.link._stream is not None
        assert one.link._stream.get_write_buffer_size() < 210_000
        two.link._stream.resume_reading()
        async with asyncio.timeout(10):
            while not one.dropped:
                await asyncio.sleep(0.005)
        one.link.copy("a:", b"after")
        one.link.say("end")
        arrived = await two.hears(3000 - one.dropped[0] + 2)
        numbers = [int(item.body.split()[0]) for item in arrived[:-2] if isinstance(item, Copy)]
        assert numbers == list(range(3000 - one.dropped[0]))
        assert arrived[-2:] == [Copy("a:", b"after"), Said("end", {})]


async def test_an_end_that_never_reads_what_must_arrive_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_module, "MAX_SAID", 100_000)
    async with one_end() as (end, _far):
        for _ in range(1000):
            end.link.say("end", text="x" * 1000)
        async with asyncio.timeout(5):
            await end.lost.wait()


async def test_nothing_is_heard_after_the_end() -> None:
    async with one_end() as (end, far):
        end.link._hear = lambda message: (end.heard.append(message), end.link.abort())  # type: ignore[assignment, func-returns-value]
        far.sendall(encode_said("a"))
        await end.hears(1)
        async with asyncio.timeout(5):
            await end.lost.wait()
        assert len(end.heard) == 1
