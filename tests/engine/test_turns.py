"""Handshakes take turns, server by server."""

from __future__ import annotations

import asyncio

import pytest

from wraith.engine.turns import Turns
from wraith.errors import TransportError


async def test_no_more_than_the_width_at_a_time_and_each_server_has_a_line_of_its_own() -> None:
    turns, active, most = Turns(width=2), 0, 0

    async def handshake(server: str) -> None:
        nonlocal active, most
        async with turns.turn(server, 5):
            active += 1
            most = max(most, active)
            await asyncio.sleep(0.01)
            active -= 1

    await asyncio.gather(*(handshake("one") for _ in range(6)))
    assert most == 2
    await asyncio.gather(*(handshake(server) for server in ["one", "two", "three"] * 2))
    assert most == 6
    assert repr(turns) == "<Turns width=2 lines=0>"


async def test_a_turn_that_does_not_come_is_an_error_that_names_the_server() -> None:
    turns = Turns(width=1)
    async with turns.turn("example.com:22", 5):
        with pytest.raises(TransportError, match=r"example\.com:22"):
            async with turns.turn("example.com:22", 0.01):
                raise AssertionError
    async with turns.turn("example.com:22", 5):
        pass


async def test_a_failure_gives_the_turn_back() -> None:
    turns = Turns(width=1)
    with pytest.raises(ValueError, match="oops"):
        async with turns.turn("a", 1):
            raise ValueError("oops")
    async with turns.turn("a", 1):
        pass
