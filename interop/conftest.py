"""Fixtures that every story shares; `interop/peers/pairs.py` says what each story runs with."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.peers.origins import Digest, Echo
from interop.peers.pairs import pairs_for, servers
from interop.peers.process import Process, descendants
from interop.peers.roles import Pair
from interop.peers.shim import require_root
from interop.peers.stage import Stage
from interop.peers.tools import require_tool
from interop.peers.uplink import DIRECT, FAR4, FAR6, Start, Uplink, start_shim


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # Started in the background by a shell; our children would ignore Ctrl-C as well.
        signal.signal(signal.SIGINT, signal.default_int_handler)
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


@pytest.fixture(scope="module")
def uplink() -> Iterator[Uplink]:
    """A machine with an uplink and a tunnel, for a shim of the whole system."""
    require_root()
    with Stage() as stage, Uplink(stage) as uplink:
        assert uplink.page(FAR4) == DIRECT[0]
        assert uplink.page(FAR6) == DIRECT[1]
        yield uplink


@pytest.fixture
def start(uplink: Uplink) -> Iterator[Start]:
    """Start the shim; afterwards everything must be exactly what it was."""
    before, started = uplink.state(), list[Process]()

    def start(*options: str) -> Process:
        started.append(start_shim(uplink, *options))
        return started[-1]

    yield start
    for shim in started:
        if shim.running:
            assert shim.stop() == 0, shim.log
        assert "Traceback" not in shim.log
    assert uplink.state() == before


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
