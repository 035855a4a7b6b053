"""Names are looked up apart: bounded, fair, and never waited for at the end."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from wraith.dialing.lookups import Lookups
from wraith.errors import ChannelRefused, Refusal


class Resolver:
    """In place of the system's: names that begin with `slow` wait until they are let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = threading.Event()

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.go.wait(10)
        if host == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        if host == "impossible":
            raise UnicodeError("a label is too long")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("192.0.2.1", port))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.go.set()


FOUND = [(socket.AF_INET, ("192.0.2.1", 53))]


async def reason(lookups: Lookups, host: str, owner: str = "me") -> Refusal:
    with pytest.raises(ChannelRefused) as caught:
        await lookups.resolve(host, 53, owner)
    return caught.value.reason


async def until_idle(lookups: Lookups) -> None:
    async with asyncio.timeout(5):
        while repr(lookups) != "<Lookups running=0>":
            await asyncio.sleep(0.005)


async def test_a_name_is_resolved(resolver: Resolver) -> None:
    lookups = Lookups()
    assert await lookups.resolve("a.example", 53, "me") == FOUND
    assert await reason(lookups, "unknown") is Refusal.NAME_UNKNOWN
    assert await reason(lookups, "impossible") is Refusal.NAME_UNKNOWN
    await until_idle(lookups)


async def test_a_slow_one_delays_nobody(resolver: Resolver) -> None:
    lookups = Lookups()
    slow = asyncio.create_task(lookups.resolve("slow.example", 53, "me"))
    await asyncio.sleep(0)
    assert await lookups.resolve("a.example", 53, "me") == FOUND
    assert not slow.done()
    resolver.go.set()
    assert await slow == FOUND
    await until_idle(lookups)


async def test_nobody_takes_all_the_places(resolver: Resolver) -> None:
    lookups = Lookups(most=3, most_for_one=2)
    tasks = [asyncio.create_task(lookups.resolve("slow", 53, "me")) for _ in range(2)]
    await asyncio.sleep(0)
    assert await reason(lookups, "a.example") is Refusal.RESOURCE_SHORTAGE
    assert await lookups.resolve("a.example", 53, "another") == FOUND
    tasks.append(asyncio.create_task(lookups.resolve("slow", 53, "another")))
    await asyncio.sleep(0)
    assert await reason(lookups, "a.example", "a third") is Refusal.RESOURCE_SHORTAGE
    resolver.go.set()
    assert await asyncio.gather(*tasks) == [FOUND] * 3
    assert await lookups.resolve("a.example", 53, "me") == FOUND
    await until_idle(lookups)


async def test_one_that_was_given_up_keeps_its_place_until_it_ends(resolver: Resolver) -> None:
    lookups = Lookups(most_for_one=1, timeout=0.05)
    assert await reason(lookups, "slow") is Refusal.TIMED_OUT
    assert await reason(lookups, "a.example") is Refusal.RESOURCE_SHORTAGE
    resolver.go.set()
    await until_idle(lookups)
    assert await lookups.resolve("a.example", 53, "me") == FOUND


async def test_a_cancelled_one_is_nobodys_complaint(resolver: Resolver) -> None:
    lookups = Lookups()
    task = asyncio.create_task(lookups.resolve("slow", 53, "me"))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    resolver.go.set()
    await until_idle(lookups)


def test_the_end_of_the_loop_waits_for_no_look_up(resolver: Resolver) -> None:
    async def work() -> None:
        task = asyncio.create_task(Lookups().resolve("slow", 53, "me"))
        await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(work())  # would hang with the loop's own threads
    resolver.go.set()


async def test_without_a_thread_there_is_no_answer(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lookups = Lookups()
    monkeypatch.setattr(threading.Thread, "start", fails)
    assert await reason(lookups, "a.example") is Refusal.RESOURCE_SHORTAGE
    await until_idle(lookups)


async def test_connections_wait_for_their_turn(resolver: Resolver) -> None:
    lookups = Lookups(most=3, most_for_one=2)
    mine = [asyncio.create_task(lookups.resolve_stream("slow", 53, "me")) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert resolver.asked == ["slow", "slow"]
    assert await lookups.resolve_stream("a.example", 53, "another") == FOUND
    resolver.go.set()
    assert await asyncio.gather(*mine) == [FOUND] * 5
    await until_idle(lookups)
    assert not lookups._owners


async def test_who_gives_up_waiting_takes_no_place(resolver: Resolver) -> None:
    """Neither its own owner's, nor one of all."""
    lookups = Lookups(most=2, most_for_one=1)
    slow = [asyncio.create_task(lookups.resolve_stream("slow", 53, owner)) for owner in "ab"]
    await asyncio.sleep(0.01)
    for owner in ("a", "c"):  # one waits for its own place, one for any
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await lookups.resolve_stream("given-up", 53, owner)
    resolver.go.set()
    await asyncio.gather(*slow)
    assert await lookups.resolve_stream("b.example", 53, "c") == FOUND
    assert "given-up" not in resolver.asked
    await until_idle(lookups)
    assert not lookups._owners


@pytest.mark.parametrize("name", ["unknown", "impossible"])
async def test_a_connection_learns_what_the_system_said(resolver: Resolver, name: str) -> None:
    with pytest.raises(socket.gaierror):
        await Lookups().resolve_stream(name, 53, "me")
