"""What surrounds every test: a deadline (pyproject.toml), and a look for what was left behind."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

GRACE = 2.0  # seconds in which what was closed must have gone


def _open_sockets() -> set[str]:
    """The sockets of this process, by the kernel's names for them."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def _children() -> set[str]:
    """The processes that this one has started and not reaped."""
    return {
        child
        for tasks in Path("/proc/self/task").iterdir()
        for child in (tasks / "children").read_text().split()
    }


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends with the sockets and the children that it began with."""
    if not Path("/proc/self/fd").exists():
        yield
        return
    sockets, children = _open_sockets(), _children()
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("no_task_is_left_behind")
    yield
    assert not _children() - children, "a child process was left behind"
    left = _open_sockets() - sockets
    if left:
        gc.collect()
        left = _open_sockets() - sockets
    # The event loop's own pair of sockets may live as long as the loop's fixture.
    assert len(left) <= 3, f"sockets were left behind: {left}"


@pytest.fixture
async def no_task_is_left_behind() -> AsyncIterator[None]:
    """Every test ends with no task but its own."""
    before = asyncio.all_tasks()
    yield
    deadline = asyncio.get_running_loop().time() + GRACE
    while left := asyncio.all_tasks() - before - {asyncio.current_task()}:
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"tasks were left behind: {left}")
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def own_state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes what belongs to the person who runs it."""
    monkeypatch.setenv("WRAITH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
