"""Sockets that go from one process to another: in order, with their notes, and never lost."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Mapping
from typing import Any

from wraith.server.workers.sockets import Giving, Handing, Taking, socket_pair
from wraith.streams.socket_stream import SocketStream


def lost(note: Mapping[str, Any]) -> None:
    raise AssertionError("a socket was lost")


class Taker:
    def __init__(self) -> None:
        self.taken: list[tuple[socket.socket, Mapping[str, Any]]] = []

    def __call__(self, sock: socket.socket, note: Mapping[str, Any]) -> None:
        self.taken.append((sock, note))

    async def has(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.taken) < count:
                await asyncio.sleep(0.005)

    def close(self) -> None:
        for sock, _ in self.taken:
            sock.close()


async def test_a_socket_arrives_with_its_note_and_works() -> None:
    near, far = socket_pair()
    failed: list[Mapping[str, Any]] = []
    taker = Taker()
    giving, taking = Giving(near, failed.append), Taking(far, taker, lost)
    one, other = socket.socketpair()
    giving.give(one, {"token": 7, "peer": ["::1", 2]})
    await taker.has(1)
    sock, note = taker.taken[0]
    assert note == {"token": 7, "peer": ["::1", 2]}
    assert not sock.get_inheritable()
    assert one.fileno() < 0, "ours is closed"
    sock.send(b"hello")
    assert other.recv(10) == b"hello"
    other.close()
    taker.close()
    giving.close()
    taking.close()
    taking.close()
    assert failed == []
    assert (repr(giving), repr(taking)) == ("<Giving waiting=0>", "<Taking closed>")


async def test_what_is_not_taken_waits_in_order() -> None:
    near, far = socket_pair()
    giving, taker = Giving(near, lambda note: None), Taker()
    others = []
    for number in range(600):
        one, other = socket.socketpair()
        others.append(other)
        giving.give(one, {"token": number})
    assert "waiting=0" not in repr(giving)
    taking = Taking(far, taker, lost)
    await taker.has(600)
    assert [note["token"] for _, note in taker.taken] == list(range(600))
    for sock in others:
        sock.close()
    taker.close()
    giving.close()
    taking.close()


async def test_what_nobody_can_take_any_more_is_closed_and_told() -> None:
    near, far = socket_pair()
    failed: list[Mapping[str, Any]] = []
    giving = Giving(near, failed.append)
    pairs = [socket.socketpair() for _ in range(600)]
    for number, (one, _) in enumerate(pairs):
        giving.give(one, {"token": number})
    far.close()
    async with asyncio.timeout(5):
        while "waiting=0" not in repr(giving):
            await asyncio.sleep(0.005)
    one, other = socket.socketpair()
    giving.give(one, {"token": 600})
    giving.close()
    assert failed[-1] == {"token": 600}
    assert all(one.fileno() < 0 for one, _ in pairs)
    for _, item in pairs:
        assert item.recv(1) == b""
        item.close()
    other.close()


async def test_what_waits_when_it_closes_is_told() -> None:
    near, far = socket_pair()
    failed: list[Mapping[str, Any]] = []
    giving = Giving(near, failed.append)
    pairs = [socket.socketpair() for _ in range(600)]
    for number, (one, _) in enumerate(pairs):
        giving.give(one, {"token": number})
    giving.close()
    assert failed
    assert failed[-1] == {"token": 599}
    far.close()
    for _, item in pairs:
        item.close()


async def test_one_that_cannot_be_greeted_harms_no_other() -> None:
    near, far = socket_pair()
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, said: complaints.append(said))
    taker = Taker()

    def take(sock: socket.socket, note: Mapping[str, Any]) -> None:
        if note["token"] == 0:
            raise RuntimeError("a defect")
        if note["token"] == 1:
            raise ConnectionResetError
        taker(sock, note)

    giving, taking = Giving(near, lambda note: None), Taking(far, take, lost)
    pairs = [socket.socketpair() for _ in range(3)]
    for number, (one, _) in enumerate(pairs):
        giving.give(one, {"token": number})
    await taker.has(1)
    assert [type(said["exception"]) for said in complaints] == [RuntimeError]
    assert pairs[0][1].recv(1) == pairs[1][1].recv(1) == b""
    for _, item in pairs:
        item.close()
    taker.close()
    giving.close()
    async with asyncio.timeout(5):
        while repr(taking) != "<Taking closed>":  # the other end has closed
            await asyncio.sleep(0.005)


async def test_without_a_descriptor_for_it_its_note_is_told() -> None:
    near, far = socket_pair()
    told: list[Mapping[str, Any]] = []
    giving, taker = Giving(near, lambda note: None), Taker()
    taking = Taking(far, taker, told.append)
    pairs = [socket.socketpair() for _ in range(2)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        giving.give(pairs[0][0], {"token": 1})
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        taking._ready(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told == [{"token": 1}]
    assert pairs[0][1].recv(1) == b""
    giving.give(pairs[1][0], {"token": 2})
    await taker.has(1)
    for _, item in pairs:
        item.close()
    taker.close()
    giving.close()
    taking.close()


async def test_an_accepted_stream_becomes_a_socket() -> None:
    handed: list[tuple[socket.socket, tuple[str, int]]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    accepted.setblocking(False)
    SocketStream(accepted, Handing(lambda sock, peer: handed.append((sock, peer))))
    ((sock, peer),) = handed
    assert peer == client.getsockname()
    os.write(sock.fileno(), b"hello")
    assert client.recv(10) == b"hello"
    sock.close()
    client.close()
