"""The first of several addresses that answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from wraith.dialing import happy_eyeballs
from wraith.dialing.happy_eyeballs import connect_first, interleave

V4, V6 = socket.AF_INET, socket.AF_INET6


def test_families_alternate_and_the_first_stays_first() -> None:
    given = [(V6, ("a",)), (V6, ("b",)), (V4, ("c",)), (V6, ("d",)), (V4, ("e",))]
    assert [address[0] for _, address in interleave(given)] == ["a", "c", "b", "e", "d"]
    assert interleave([]) == []


class Network:
    """Addresses that answer, refuse or stay silent, each after its time."""

    def __init__(self, **behaviour: tuple[float, OSError | None]) -> None:
        self.behaviour = behaviour
        self.made: list[socket.socket] = []
        self.tried: list[str] = []

    async def connect(self, _family: socket.AddressFamily, address: Any) -> socket.socket:
        self.tried.append(address[0])
        delay, error = self.behaviour[address[0]]
        await asyncio.sleep(delay)
        if error is not None:
            raise error
        sock = socket.socket()
        self.made.append(sock)
        return sock


Install = Callable[..., Network]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Install:
    def install(**behaviour: tuple[float, OSError | None]) -> Network:
        made = Network(**behaviour)
        monkeypatch.setattr(happy_eyeballs, "_connect", made.connect)
        monkeypatch.setattr(happy_eyeballs, "ATTEMPT_DELAY", 0.05)
        return made

    return install


async def test_a_silent_first_address_costs_a_moment(network: Install) -> None:
    net = network(silent=(60, None), good=(0, None))
    sock = await connect_first([(V6, ("silent",)), (V4, ("good",))])
    assert net.made == [sock]
    sock.close()


async def test_a_refusal_starts_the_next_at_once(network: Install) -> None:
    net = network(bad=(0, ConnectionRefusedError()), good=(0, None))
    began = asyncio.get_running_loop().time()
    (await connect_first([(V6, ("bad",)), (V4, ("good",))])).close()
    assert asyncio.get_running_loop().time() - began < 0.04
    assert net.tried == ["bad", "good"]


async def test_the_first_refusal_is_the_one_reported(network: Install) -> None:
    network(a=(0, ConnectionRefusedError("a")), b=(0, TimeoutError("b")))
    with pytest.raises(ConnectionRefusedError):
        await connect_first([(V6, ("a",)), (V4, ("b",))])


async def test_of_two_that_answer_together_one_is_closed(network: Install) -> None:
    net = network(slow=(0.06, None), fast=(0.01, None))
    sock = await connect_first([(V6, ("slow",)), (V4, ("fast",))])
    await asyncio.sleep(0.05)
    assert [made for made in net.made if made.fileno() != -1] == [sock]
    sock.close()


async def test_no_address_at_all_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        await connect_first([])
