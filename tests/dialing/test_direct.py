"""Dialing from this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from wraith.dialing.direct import DirectDialer, resolve
from wraith.errors import ChannelRefused, Refusal
from wraith.testing import Recorder
from wraith.values.address import TcpDestination, UnixDestination


@asynccontextmanager
async def listener(host: str = "127.0.0.1") -> AsyncIterator[tuple[Recorder, int]]:
    recorder = Recorder()
    server = await asyncio.get_running_loop().create_server(lambda: recorder, host, 0)
    try:
        yield recorder, server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def refused(dialer: DirectDialer, destination: Any) -> Refusal:
    with pytest.raises(ChannelRefused) as caught:
        await dialer.dial(destination, asyncio.Protocol())
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.reason


async def test_it_connects_to_an_address_and_to_a_name() -> None:
    for host in ("127.0.0.1", "localhost"):
        async with listener() as (server, port):
            client = Recorder()
            stream = await DirectDialer().dial(TcpDestination(host, port), client)
            assert client.stream is stream
            stream.write(b"hello")
            assert await server.until_received(5) == b"hello"
            stream.close()
            server.stream.close()
            await asyncio.gather(client.until_lost(), server.until_lost())


async def test_it_connects_to_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    server = Recorder()
    listening = await asyncio.get_running_loop().create_unix_server(lambda: server, path)
    client = Recorder()
    stream = await DirectDialer().dial(UnixDestination(path), client)
    stream.write(b"hello")
    assert await server.until_received(5) == b"hello"
    stream.close()
    server.stream.close()
    await asyncio.gather(client.until_lost(), server.until_lost())
    listening.close()


async def test_each_failure_has_its_own_reason(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dialer = DirectDialer()
    assert await refused(dialer, TcpDestination("127.0.0.1", port)) is Refusal.REFUSED
    assert await refused(dialer, TcpDestination("no.such.invalid", 1)) is Refusal.NAME_UNKNOWN
    assert await refused(dialer, TcpDestination("a" * 70 + ".x", 1)) is Refusal.NAME_UNKNOWN
    assert await refused(dialer, UnixDestination(str(tmp_path / "none"))) is Refusal.REFUSED


async def test_a_black_hole_times_out(black_hole: int) -> None:
    dialer = DirectDialer(timeout=0.2)
    assert await refused(dialer, TcpDestination("127.0.0.1", black_hole)) is Refusal.TIMED_OUT


async def test_a_cancelled_dial_leaves_nothing_open(black_hole: int) -> None:
    destination = TcpDestination("127.0.0.1", black_hole)
    task = asyncio.create_task(DirectDialer().dial(destination, asyncio.Protocol()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
async def black_hole() -> AsyncIterator[int]:
    """A port whose connection attempts are never answered: its backlog is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        await asyncio.sleep(0.05)
        yield port
        for filler in fillers:
            filler.close()


async def test_only_approved_addresses_are_dialled() -> None:
    asked = []

    def approve(destination: TcpDestination, address: str) -> bool:
        asked.append((destination.host, address))
        return False

    dialer = DirectDialer(approve)
    assert await refused(dialer, TcpDestination("localhost", 1)) is Refusal.PROHIBITED
    assert ("localhost", "127.0.0.1") in asked


async def test_the_address_that_was_approved_is_the_one_that_is_dialled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that changes its mind between check and use gains nothing."""
    answers = ["127.0.0.1", "127.6.6.6"]

    def rebinding(*_args: Any, **_kwargs: Any) -> list[Any]:
        address = answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    async with listener() as (server, port):
        dialer = DirectDialer(lambda _destination, address: address == "127.0.0.1")
        stream = await dialer.dial(TcpDestination("rebind.example", port), Recorder())
        assert stream.get_extra_info("peername")[0] == "127.0.0.1"
        assert answers == ["127.6.6.6"]
        stream.close()
        await asyncio.sleep(0.01)
        server.stream.close()
        await server.until_lost()


async def test_literal_addresses_need_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_args: Any, **_kwargs: Any) -> list[Any]:
        raise AssertionError("asked the resolver")

    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    assert await resolve("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert await resolve("::1", 80) == [(socket.AF_INET6, ("::1", 80, 0, 0))]


async def test_other_spellings_of_an_address_are_resolved_and_then_judged() -> None:
    """`127.1` and `0x7f000001` are what the resolver makes of them, not what they look like."""
    for spelling in ("127.1", "0x7f000001", "2130706433"):
        found = await resolve(spelling, 80)
        assert [address[0] for _, address in found] == ["127.0.0.1"]


def test_a_dialer_says_nothing_of_where_it_went() -> None:
    assert repr(DirectDialer(timeout=3)) == "<DirectDialer timeout=3>"
