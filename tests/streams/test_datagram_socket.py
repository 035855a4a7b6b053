"""A UDP socket on the hub, under every loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.loops import LOOPS, NewLoop, run_under
from wraith.streams import datagram_socket
from wraith.streams.datagram_socket import ENOUGH, MOST_AT_ONCE, DatagramSocket, Received

each_loop = pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)


class Inbox:
    """What a socket has received, and in how many goes."""

    def __init__(self) -> None:
        self.goes: list[list[Received]] = []

    def __call__(self, received: list[Received]) -> None:
        self.goes.append(received)

    @property
    def payloads(self) -> list[bytes]:
        return [payload for go in self.goes for payload, _ in go]

    async def until(self, count: int) -> list[bytes]:
        async with asyncio.timeout(5):
            while len(self.payloads) < count:
                await asyncio.sleep(0.001)
        return self.payloads


@contextmanager
def made(inbox: Inbox) -> Iterator[tuple[DatagramSocket, socket.socket]]:
    """One on loopback, and a plain socket that talks to it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    ours = DatagramSocket(sock, inbox)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.connect(ours.address)
        other.settimeout(5)
        try:
            yield ours, other
        finally:
            ours.close()


@each_loop
def test_it_receives_and_answers(new_loop: NewLoop) -> None:
    async def work() -> None:
        inbox = Inbox()
        with made(inbox) as (ours, other):
            for payload in (b"", b"hello", bytes(60_000)):
                other.send(payload)
            assert await inbox.until(3) == [b"", b"hello", bytes(60_000)]
            assert {sender for go in inbox.goes for _, sender in go} == {other.getsockname()}
            ours.send(b"and you", other.getsockname())
            assert other.recv(100) == b"and you"
            assert datagram_socket.is_possible()

    assert run_under(new_loop, work()).contexts == []


@each_loop
def test_while_it_is_paused_the_kernel_keeps_and_drops(new_loop: NewLoop) -> None:
    async def work() -> None:
        inbox = Inbox()
        with made(inbox) as (ours, other):
            ours.pause()
            ours.pause()
            for _ in range(200):
                other.send(bytes(10_000))
            await asyncio.sleep(0.05)
            assert inbox.goes == []
            assert repr(ours) == "<DatagramSocket paused>"
            ours.resume()
            await inbox.until(1)
            await asyncio.sleep(0.05)
            assert 1 <= len(inbox.payloads) < 200, "no queue of ours, and the kernel's is bounded"
            assert all(sum(len(data) for data, _ in go) < ENOUGH + 65536 for go in inbox.goes)

    assert run_under(new_loop, work()).contexts == []


async def test_a_flood_of_crumbs_leaves_others_their_turn() -> None:
    inbox = Inbox()
    with made(inbox) as (_, other):
        for _ in range(3 * MOST_AT_ONCE):
            other.send(b"x")
        await inbox.until(3 * MOST_AT_ONCE)
        assert max(len(go) for go in inbox.goes) == MOST_AT_ONCE


async def test_what_the_system_refuses_is_told_and_what_it_has_no_room_for_is_not() -> None:
    with made(Inbox()) as (ours, other):
        with pytest.raises(OSError, match="too long"):
            ours.send(bytes(65_536), other.getsockname())
        ours._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for _ in range(1000):
            ours.send(bytes(1000), other.getsockname())  # BlockingIOError is not raised


async def test_closed_it_does_nothing() -> None:
    inbox = Inbox()
    with made(inbox) as (ours, other):
        where = other.getsockname()
        ours.close()
        ours.close()
        ours.send(b"nobody", where)
        ours.resume()
        assert repr(ours) == "<DatagramSocket closed>"


async def test_an_error_of_an_earlier_datagram_is_passed_over() -> None:
    inbox = Inbox()
    with made(inbox) as (ours, other):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            nowhere = gone.getsockname()
        ours._sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: tell us of ICMP errors
        ours.send(b"anyone?", nowhere)
        await asyncio.sleep(0.05)
        other.send(b"here")
        assert await inbox.until(1) == [b"here"]
