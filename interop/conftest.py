"""Fixtures that every story shares; `interop/peers/pairs.py` says what each story runs with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.peers.origins import Digest, Echo
from interop.peers.pairs import pairs_for, servers
from interop.peers.process import descendants
from interop.peers.roles import Pair
from interop.peers.stage import Stage
from interop.peers.tools import require_tool


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pairs(client, server, oracle): see interop/peers/pairs.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        chosen = pairs_for(metafunc.definition.get_closest_marker("pairs"))
        metafunc.parametrize("pair", chosen, ids=str, indirect=True, scope="module")
    if "server_role" in metafunc.fixturenames:
        metafunc.parametrize("server_role", servers(), indirect=True)


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Pair:
    """Who plays the client and who the server."""
    pair: Pair = request.param
    if "wraith" in pair:
        require_tool("wraith")
    return pair


@pytest.fixture
def server_role(request: pytest.FixtureRequest) -> str:
    """Who plays the server, for stories whose client is a program of their own."""
    role: str = request.param
    require_tool("wraith" if role == "wraith" else "sshd")
    return role


@pytest.fixture
def stage() -> Iterator[Stage]:
    """An empty stage; what the story starts on it ends with the story."""
    before = set(descendants(os.getpid()))
    with Stage() as stage:
        yield stage
    left = set(descendants(os.getpid())) - before
    names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in left]
    assert not names, "the story left a child process behind"


@pytest.fixture
def far_echo() -> Iterator[Echo]:
    """A destination that sends back what it gets."""
    with Echo() as origin:
        yield origin


@pytest.fixture
def far_digest() -> Iterator[Digest]:
    """A destination that tells the SHA-256 of what it got, and sends as much as it is told to."""
    with Digest() as origin:
        yield origin
