"""The bus and its clients keep their promises, in memory and over real SSH."""

from __future__ import annotations

import pytest

from tests.support.bus_promises import PROMISES, Promise
from tests.support.bus_world import WORLDS


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_the_bus_promises(promise: Promise, world: str) -> None:
    await promise(WORLDS[world])
