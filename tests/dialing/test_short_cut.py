"""Connecting by callbacks: the same verdicts, time-outs and addresses as the ordinary way."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import LOOPS, NewLoop, run_under
from tests.support.sockets import reset, tcp_pair
from wraith.dialing import short_cut
from wraith.dialing.direct import DirectDialer, resolve
from wraith.dialing.short_cut import SocketAttempt, TaskAttempt, begin
from wraith.errors import ChannelRefused, Refusal
from wraith.streams.hub import running_hub
from wraith.values.address import Destination, TcpDestination, UnixDestination


class Waiting:
    """Whoever waits for a socket."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[socket.socket | Refusal] = (
            asyncio.get_running_loop().create_future()
        )

    def connected(self, sock: socket.socket) -> None:
        self.answer.set_result(sock)

    def failed(self, reason: Refusal) -> None:
        self.answer.set_result(reason)

    async def reason(self) -> Refusal:
        answer = await asyncio.wait_for(self.answer, 10)
        assert isinstance(answer, Refusal)
        return answer

    async def sock(self) -> socket.socket:
        answer = await asyncio.wait_for(self.answer, 10)
        assert isinstance(answer, socket.socket)
        return answer


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@contextmanager
def black_hole() -> Iterator[int]:
    """A port whose connection attempts are never answered: its backlog is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
        for filler in fillers:
            filler.close()


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_and_a_name_are_reached(host: str, new_loop: NewLoop) -> None:
    async def work() -> None:
        with listening() as server:
            waiting = Waiting()
            DirectDialer().connect_soon(TcpDestination(host, server.getsockname()[1]), waiting)
            with await waiting.sock() as sock:
                assert sock.getblocking() is False
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                far, _ = server.accept()
                far.close()

    assert run_under(new_loop, work()).contexts == []


async def test_a_unix_socket_is_reached(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        waiting = Waiting()
        assert DirectDialer().connect_soon(UnixDestination(path), waiting) is None
        (await waiting.sock()).close()


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_a_destination_that_never_answers_times_out(new_loop: NewLoop) -> None:
    async def work() -> None:
        with black_hole() as port:
            waiting = Waiting()
            attempt = DirectDialer(timeout=0.05).connect_soon(
                TcpDestination("127.0.0.1", port), waiting
            )
            assert isinstance(attempt, SocketAttempt)
            assert await waiting.reason() is Refusal.TIMED_OUT
            attempt.cancel()

    assert run_under(new_loop, work()).contexts == []


async def test_a_name_that_never_answers_times_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ever = threading.Event()

    def never(*_args: object, **_kwargs: object) -> list[Any]:
        ever.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    waiting = Waiting()
    DirectDialer(timeout=0.02).connect_soon(TcpDestination("slow.example", 80), waiting)
    assert await waiting.reason() is Refusal.TIMED_OUT
    ever.set()


async def test_a_name_with_several_addresses_is_reached_at_the_one_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening() as server:
        port = server.getsockname()[1]

        def two(*_args: object, **_kwargs: object) -> list[Any]:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.9", port)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
            ]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        waiting = Waiting()
        DirectDialer().connect_soon(TcpDestination("two.example", port), waiting)
        with await waiting.sock() as sock:
            assert sock.getpeername() == ("127.0.0.1", port)


async def test_each_failure_has_the_same_reason_on_both_ways(tmp_path: Path) -> None:
    full = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(full)
        server.listen(0)
        first.connect(full)
        expected: list[tuple[Destination, Refusal | None]] = [
            (TcpDestination("127.0.0.1", closed_port()), Refusal.REFUSED),
            (TcpDestination("localhost", closed_port()), Refusal.REFUSED),
            (TcpDestination("no.such.invalid", 1), Refusal.NAME_UNKNOWN),
            (TcpDestination("a" * 70 + ".x", 1), Refusal.NAME_UNKNOWN),
            (TcpDestination("nul\0.example", 1), Refusal.NAME_UNKNOWN),
            (TcpDestination("localhost", 65536), Refusal.NAME_UNKNOWN),
            (TcpDestination("127.0.0.1", 65536 + 22), Refusal.NAME_UNKNOWN),
            (TcpDestination("255.255.255.255", 1), None),
            (UnixDestination(str(tmp_path / "none")), Refusal.REFUSED),
            (UnixDestination(str(tmp_path / ("x" * 300))), None),
            (UnixDestination(full), Refusal.RESOURCE_SHORTAGE),
        ]
        for destination, reason in expected:
            with pytest.raises(ChannelRefused) as caught:
                (await DirectDialer().connect(destination)).close()
            waiting = Waiting()
            DirectDialer().connect_soon(destination, waiting)
            assert await waiting.reason() is caught.value.reason
            assert reason in (None, caught.value.reason), destination.reveal()


async def test_an_address_that_is_not_approved_is_not_dialled() -> None:
    for host in ("127.0.0.1", "localhost"):
        waiting = Waiting()
        dialer = DirectDialer(lambda _destination, _address: False)
        dialer.connect_soon(TcpDestination(host, 1), waiting)
        assert await waiting.reason() is Refusal.PROHIBITED


async def test_a_port_that_a_resolver_would_cut_to_sixteen_bits_is_no_port() -> None:
    """65536 + 22 would become 22, after the rules were asked about another."""
    with pytest.raises(socket.gaierror, match="no such port"):
        await resolve("localhost", 65536 + 22)


async def test_an_attempt_that_is_given_up_tells_nobody_and_leaves_nothing() -> None:
    with black_hole() as port:
        waiting = Waiting()
        attempt = begin(socket.AF_INET, ("127.0.0.1", port), waiting, 10)
        assert attempt is not None
        attempt.cancel()
        attempt.cancel()
        attempt._ready(4)
        attempt._too_late()
        assert not waiting.answer.done()
        assert not getattr(running_hub(), "_hot", {})


async def test_an_attempt_for_a_name_is_given_up_with_its_task() -> None:
    waiting = Waiting()
    with black_hole() as port:
        attempt = DirectDialer().connect_soon(TcpDestination("localhost", port), waiting)
        assert isinstance(attempt, TaskAttempt)
        await asyncio.sleep(0.02)
        attempt.cancel()
        await asyncio.sleep(0.02)
    assert not waiting.answer.done()


async def test_a_name_that_was_reached_is_not_given_up_any_more() -> None:
    """Its socket is on its way to the outcome, which closes it if nobody wants it."""
    waiting, (near, far) = Waiting(), socket.socketpair()

    async def reached() -> socket.socket:
        return near

    task = asyncio.get_running_loop().create_task(reached())
    attempt = TaskAttempt(task, waiting)
    await asyncio.wait([task])
    attempt.cancel()
    assert await waiting.sock() is near
    near.close()
    far.close()


async def test_a_fault_in_the_making_is_a_failure_and_no_more() -> None:
    waiting = Waiting()

    async def faulty() -> socket.socket:
        raise ZeroDivisionError

    TaskAttempt(asyncio.get_running_loop().create_task(faulty()), waiting)
    assert await waiting.reason() is Refusal.FAILED


async def test_without_a_descriptor_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_args: object) -> socket.socket:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(short_cut.socket, "socket", none_left)  # type: ignore[attr-defined]
    waiting = Waiting()
    assert begin(socket.AF_INET, ("127.0.0.1", 1), waiting, 1) is None
    assert await waiting.reason() is Refusal.RESOURCE_SHORTAGE


async def test_a_connection_under_way_is_told_when_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class FarAway(socket.socket):
        def connect_ex(self, address: Any) -> int:
            super().connect_ex(address)
            return errno.EINPROGRESS

    monkeypatch.setattr(short_cut.socket, "socket", FarAway)  # type: ignore[attr-defined]
    with listening() as server:
        waiting = Waiting()
        assert begin(socket.AF_INET, server.getsockname(), waiting, 10) is not None
        assert not waiting.answer.done()
        (await waiting.sock()).close()


async def test_a_connection_under_way_that_fails_is_told_with_the_systems_reason() -> None:
    with tcp_pair() as (near, far):
        reset(far)  # which leaves its reason on the socket, as a refusal does
        waiting = Waiting()
        SocketAttempt(socket.socket(fileno=near.detach()), waiting, 10)
        assert await waiting.reason() is Refusal.FAILED
