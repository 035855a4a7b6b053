"""One association at the server: its channel in memory, its partners on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.datagrams import ear
from wraith.dialing.lookups import Addresses, Lookups
from wraith.errors import ChannelRefused, Refusal
from wraith.policy import datagram_routes
from wraith.policy.access import AccessRules
from wraith.protocol.datagrams import FrameReader, encode_address, frames
from wraith.server import datagrams
from wraith.server.datagrams import MOST_WAITING, QUEUE, Association, Associations
from wraith.streams.memory import MemoryStream, memory_pair
from wraith.testing import Recorder
from wraith.values.address import Destination, TcpDestination


class Answers(Lookups):
    """Names that the test makes up; one that is not there yet waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, list[str]] = {}
        self.news = asyncio.Event()

    async def resolve(self, host: str, port: int, owner: object) -> Addresses:
        while host not in self.known:
            self.news.clear()
            await self.news.wait()
        found = self.known[host]
        if not found:
            raise ChannelRefused(Refusal.NAME_UNKNOWN)
        return [_sockaddr(address, port) for address in found]

    def tell(self, host: str, *addresses: str) -> None:
        self.known[host] = list(addresses)
        self.news.set()


def _sockaddr(address: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    if ":" in address:
        return socket.AF_INET6, (address, port, 0, 0)
    return socket.AF_INET, (address, port)


@dataclass
class House:
    """A policy that denies what the test says, and remembers what it was asked."""

    denied: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    accepted: AccessRules = field(default_factory=AccessRules)

    @property
    def rules(self) -> Callable[[], AccessRules]:
        return lambda: self.accepted

    def may_try(self, destination: Destination) -> bool:
        assert isinstance(destination, TcpDestination)
        return destination.host not in self.denied

    def approve(self, destination: TcpDestination, address: str) -> bool:
        self.asked.append((destination.host, address))
        return address not in self.denied


@dataclass
class Stage:
    """The association, and the client's end of its channel."""

    association: Association
    client: Recorder
    channel: MemoryStream
    names: Answers
    house: House

    def send(self, host: str, port: int, *payloads: bytes) -> None:
        address = encode_address(host, port)
        self.channel.write(frames(address + payload for payload in payloads))

    async def receive(self, size: int) -> list[bytes]:
        return FrameReader().receive_data(await self.client.until_received(size))


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    names, house, client = Answers(), House(), Recorder()
    association = Associations(house, names).begin()
    channel, _ = memory_pair(client, association)
    try:
        yield Stage(association, client, channel, names, house)
    finally:
        channel.abort()
        await asyncio.sleep(0.01)


async def test_what_comes_for_a_name_waits_until_it_is_known_and_goes_to_an_approved_address() -> (
    None
):
    async with stage() as scene, ear() as partner, ear() as other:
        scene.house.denied = {"127.0.0.2"}
        scene.send("dns.example", partner.port, b"one", b"two")
        scene.send("127.0.0.1", other.port, b"not delayed")
        assert (await other.next())[0] == b"not delayed"
        scene.send("dns.example", partner.port, b"three")
        await asyncio.sleep(0.01)
        scene.names.tell("dns.example", "127.0.0.2", "127.0.0.1")
        assert [(await partner.next())[0] for _ in range(3)] == [b"one", b"two", b"three"]
        assert scene.house.asked[1:] == [("dns.example", "127.0.0.2"), ("dns.example", "127.0.0.1")]
        partner.transport.sendto(b"answer", (await _ask(scene, other))[1])
        (parcel,) = await scene.receive(2 + 4 + 11 + 6)
        assert parcel == encode_address("dns.example", partner.port) + b"answer"


async def _ask(scene: Stage, other: Any) -> tuple[bytes, Any]:
    """Where the association's datagrams come from."""
    scene.send("127.0.0.1", other.port, b"?")
    heard: tuple[bytes, Any] = await other.next()
    return heard


async def test_what_waits_for_a_name_is_bounded_and_dropped_if_there_is_no_such_name() -> None:
    async with stage() as scene:
        for _ in range(40):
            scene.send("nowhere.example", 53, bytes(30_000))
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        (waiting,) = scene.association._waiting.values()
        assert 30_000 <= sum(map(len, waiting)) <= MOST_WAITING
        scene.names.tell("nowhere.example")
        await asyncio.sleep(0.01)
        assert not scene.association._waiting
        assert not scene.association._sockets


async def test_an_address_that_cannot_be_reached_gives_way_to_the_next() -> None:
    async with stage() as scene, ear() as partner:
        scene.names.tell("two.example", "255.255.255.255", "127.0.0.1")
        scene.send("two.example", partner.port, b"hello")
        assert (await partner.next())[0] == b"hello"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_each_family_has_its_socket() -> None:
    async with stage() as scene, ear(host="::1") as six, ear() as four:
        for _ in range(2):
            scene.send("::1", six.port, b"6")
            scene.send("127.0.0.1", four.port, b"4")
        for partner, payload in ((six, b"6"), (four, b"4")):
            heard, where = await partner.next()
            assert heard == payload
            partner.transport.sendto(payload * 2, where)
        assert len(scene.association._sockets) == 2
        parcels = await scene.receive(2 + 19 + 2 + 2 + 7 + 2)
        assert {parcel[-2:] for parcel in parcels} == {b"66", b"44"}


@pytest.mark.parametrize("nonsense", [b"\0\0", b"\0\1\1", b"\0\3\x02ab", b"\0\4\3\xffab"])
async def test_a_client_that_writes_nonsense_loses_its_association(nonsense: bytes) -> None:
    async with stage() as scene:
        scene.channel.write(nonsense)
        await scene.client.until_lost()


async def test_while_the_client_does_not_read_the_kernel_keeps_and_drops() -> None:
    async with stage() as scene, ear() as partner:
        _, where = await _ask(scene, partner)
        scene.channel.pause_reading()
        for _ in range(100):
            partner.transport.sendto(bytes(20_000), where)
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        unread = len(scene.channel._inbox)
        assert QUEUE / 2 < unread < QUEUE + 2 * 65536 + 100
        scene.send("::1", partner.port, b"a socket made meanwhile rests as well")
        await asyncio.sleep(0.02)
        assert all("paused" in repr(sock) for sock in scene.association._sockets.values())
        scene.channel.resume_reading()
        await scene.client.until_received(unread)
        await asyncio.sleep(0.02)
        assert all("reading" in repr(sock) for sock in scene.association._sockets.values())


async def test_idle_it_holds_no_socket_and_wakes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "SWEEP", 0.02)
    async with stage() as scene, ear() as partner:
        scene.association._routes = datagram_routes.DatagramRoutes(idle=0.1)
        _, first = await _ask(scene, partner)
        assert len(scene.association._sockets) == 1
        async with asyncio.timeout(5):
            while scene.association._sockets:
                await asyncio.sleep(0.01)
        assert repr(scene.association) == "<Association routes=0 sockets=0>"
        partner.transport.sendto(b"too late", first)
        await _ask(scene, partner)
        await asyncio.sleep(0.02)
        assert not scene.client.received


async def test_without_descriptors_datagrams_are_dropped_and_later_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage() as scene, ear() as partner:
        with monkeypatch.context() as patch:

            def none_left(*_args: object) -> socket.socket:
                raise OSError(24, "too many open files")

            patch.setattr(socket, "socket", none_left)
            scene.send("127.0.0.1", partner.port, b"lost")
            await asyncio.sleep(0.01)
        scene.send("127.0.0.1", partner.port, b"not lost")
        assert (await partner.next())[0] == b"not lost"


async def test_a_channel_that_ends_while_a_name_is_resolved_leaves_nothing() -> None:
    async with stage() as scene:
        scene.send("slow.example", 53, b"?")
        await asyncio.sleep(0.01)
        assert len(scene.association._lookups) == 1
        scene.channel.abort()
        async with asyncio.timeout(5):
            while scene.association._lookups:
                await asyncio.sleep(0.001)
        assert not scene.association._sockets
