"""The load generator against its own origin, and against proxies that cheat."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from bench.native import CouldNot, Loadgen, WrongBytes, build

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


@pytest.fixture(scope="module")
def loadgen() -> Loadgen:
    return Loadgen(build())


@pytest.fixture
def origin(loadgen: Loadgen) -> Iterator[dict[str, int]]:
    with loadgen.serving("origin") as ports:
        yield ports


@pytest.fixture
def relay_to() -> Iterator[Callable[[int, Callable[[bytes], bytes]], int]]:
    """Relay one connection to a port, its answers passed through a function."""
    threads = []

    def begin(port: int, change: Callable[[bytes], bytes]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            far = socket.create_connection(("127.0.0.1", port), timeout=0.5)
            with listener, far, listener.accept()[0] as near, contextlib.suppress(OSError):
                far.sendall(near.recv(64))
                while data := change(far.recv(100_000)):
                    near.sendall(data)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield begin
    for thread in threads:
        thread.join(5)


def test_both_directions_deliver_every_byte(loadgen: Loadgen, origin: dict[str, int]) -> None:
    for role in ("down", "up"):
        result = loadgen.run(role, **origin, bytes=3_000_000, streams=3, compare_all=1)
        assert result["bytes"] == 3_000_000
        assert result["bytes_per_second"] > 0


def test_small_messages_are_counted(loadgen: Loadgen, origin: dict[str, int]) -> None:
    for role in ("conn", "ping"):
        result = loadgen.run(role, **origin, at_once=4, ms=50)
        assert result["count"] > 0
        assert 0 < result["p50_us"] <= result["p99_us"]


def test_the_relay_delays_both_ways(loadgen: Loadgen, origin: dict[str, int]) -> None:
    with loadgen.serving("relay", to=origin["source"], delay_ms=30) as relay:
        result = loadgen.run("down", source=relay["port"], bytes=500_000, compare_all=1)
    assert result["first_byte"] >= 0.06


def test_a_changed_byte_is_wrong(
    loadgen: Loadgen,
    origin: dict[str, int],
    relay_to: Callable[[int, Callable[[bytes], bytes]], int],
) -> None:
    def flip(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if data else b""

    port = relay_to(origin["source"], flip)
    with pytest.raises(WrongBytes, match="wrong bytes"):
        loadgen.run("down", source=port, bytes=300_000, compare_all=1)


def test_an_early_end_is_wrong(
    loadgen: Loadgen,
    origin: dict[str, int],
    relay_to: Callable[[int, Callable[[bytes], bytes]], int],
) -> None:
    port = relay_to(origin["source"], lambda data: b"")
    with pytest.raises(WrongBytes, match="ended after 0 bytes"):
        loadgen.run("down", source=port, bytes=300_000)


def test_a_refused_connection_is_no_result(loadgen: Loadgen, origin: dict[str, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CouldNot, match="connect"):
        loadgen.run("ping", **{**origin, "echo": port}, at_once=1, ms=50)


def test_datagrams_are_counted(loadgen: Loadgen, origin: dict[str, int]) -> None:
    result = loadgen.run("udp", **origin, at_once=3, ms=200)
    assert result["count"] > 10
    assert result["per_second"] > 0
    assert result["p99_us"] > 0


def test_a_proxy_without_datagrams_is_no_result(
    loadgen: Loadgen, origin: dict[str, int], relay_to: Callable[..., int]
) -> None:
    refuses = relay_to(origin["echo"], lambda data: data and b"\5\0" + b"\5\7\0\1" + bytes(6))
    with pytest.raises(CouldNot, match="reply 7"):
        loadgen.run("udp", socks=refuses, udp=origin["udp"], ms=200)
