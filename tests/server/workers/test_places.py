"""A worker that asks its parent: an answer, none in time, or one that comes too late."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tests.server.workers.test_exchange import Wire
from wraith.policy.penalties import Offence
from wraith.server.options import ServeOptions
from wraith.server.workers import places as places_module
from wraith.server.workers.places import Places, WaitingRoom, address_from
from wraith.streams.memory import memory_pair
from wraith.streams.tasks import TaskSet
from wraith.testing import Recorder
from wraith.transports.base import PeerInfo
from wraith.values.address import HostPort, UnixPath

WHO = PeerInfo("tls", "192.0.2.1")


class World:
    def __init__(self) -> None:
        self.wire = Wire()
        self.places = Places(cast("Any", self.wire))
        self.admitted: list[int] = []
        self.tasks = TaskSet("test")

    async def is_asked(self) -> tuple[str, dict[str, Any]]:
        async with asyncio.timeout(5):
            while not self.wire.said:
                await asyncio.sleep(0.005)
        return self.wire.said.pop()

    def admit(self, _info: PeerInfo, token: int) -> asyncio.Protocol | None:
        self.admitted.append(token)
        return Recorder() if token < 100 else None

    def room(self) -> tuple[asyncio.Transport, Recorder]:
        """A stream that waits, and what its other end sees."""
        outside = Recorder()
        _, far = memory_pair(WaitingRoom(WHO, self.places, self.admit, self.tasks), outside)
        return far, outside


async def test_what_is_told() -> None:
    world = World()
    assert world.places.begin(WHO) is None
    world.places.authenticated(3)
    world.places.end(3, "192.0.2.1", Offence.AUTH_FAILED)
    world.places.end(4, "192.0.2.1", None)
    world.places.reload(ServeOptions())
    assert world.wire.said == [
        ("authenticated", {"token": 3}),
        ("end", {"token": 3, "offence": "authfail"}),
        ("end", {"token": 4, "offence": None}),
    ]
    assert repr(world.places) == "<Places asked=0>"


async def test_a_place_is_asked_for_and_given() -> None:
    world = World()
    stream, _ = world.room()
    stream.write(b"hello")
    op, asked = await world.is_asked()
    assert (op, asked["address"]) == ("place", "192.0.2.1")
    world.places.answered({"number": asked["number"], "token": 7})
    async with asyncio.timeout(5):
        while not world.admitted:
            await asyncio.sleep(0.005)
    assert world.admitted == [7]
    stream.abort()
    await asyncio.sleep(0.02)


@pytest.mark.parametrize("answer", [{"token": None}, {"token": 100}])
async def test_no_place_or_nobody_to_greet_ends_the_stream(answer: dict[str, Any]) -> None:
    world = World()
    _, outside = world.room()
    _, asked = await world.is_asked()
    world.places.answered({"number": asked["number"], **answer})
    async with asyncio.timeout(5):
        await outside.lost


async def test_no_answer_in_time_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "PATIENCE", 0.05)
    world = World()
    _, outside = world.room()
    _, asked = await world.is_asked()
    async with asyncio.timeout(5):
        await outside.lost
    world.places.answered({"number": asked["number"], "token": 9})
    assert world.wire.said == [("end", {"token": 9, "offence": None})], "it holds nothing"
    world.places.answered({"number": asked["number"], "token": None})


async def test_who_left_while_waiting_gives_the_place_back() -> None:
    world = World()
    stream, _ = world.room()
    _, asked = await world.is_asked()
    stream.abort()
    await asyncio.sleep(0.02)
    world.places.answered({"number": asked["number"], "token": 7})
    assert await world.is_asked() == ("end", {"token": 7, "offence": None})
    assert world.admitted == []


@pytest.mark.parametrize("address", [HostPort("localhost", 22), UnixPath("/run/x")])
async def test_an_address_travels(address: HostPort | UnixPath) -> None:
    world = World()
    asking = asyncio.ensure_future(world.places.vacate("SHA256:x", address))
    op, asked = await world.is_asked()
    assert (op, asked["fingerprint"]) == ("vacate", "SHA256:x")
    assert address_from(asked["address"]) == address
    world.places.answered({"number": asked["number"], "done": True})
    assert await asking is True
