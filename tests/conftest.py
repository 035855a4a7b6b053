"""What surrounds every test: a deadline (pyproject.toml), and a look for what was left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest

GRACE = 2.0  # seconds in which what was closed must have gone

SCRATCH = re.compile(r"\..+\.[a-z0-9_]{8}")
"""How Wraith names a file that it will rename or link to its place."""

HAS_PROC = Path("/proc/self/fd").exists()


def _open_sockets() -> set[str]:
    """The sockets of this process, by the kernel's names for them."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir() if HAS_PROC else ():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def _children() -> set[str]:
    """The processes that this one has started and not reaped."""
    found: set[str] = set()
    for thread in Path("/proc/self/task").iterdir() if HAS_PROC else ():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found.update((thread / "children").read_text().split())
    return found


def _threads() -> set[str]:
    return {f"{thread.name} {thread.ident}" for thread in threading.enumerate()}


HELD: dict[str, Callable[[], set[str]]] = {
    "sockets": _open_sockets,
    "children": _children,
    "threads": _threads,
}


def _holdings() -> dict[str, set[str]]:
    return {kind: look() for kind, look in HELD.items()}


def _left(before: dict[str, set[str]]) -> dict[str, set[str]]:
    return {kind: now for kind, look in HELD.items() if (now := look() - before[kind])}


BEFORE = pytest.StashKey[dict[str, set[str]]]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a test, its event loop and its fixtures."""
    item.stash[BEFORE] = _holdings()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """All of them gone, there is what there was before, with no slack."""
    result = yield
    deadline = time.monotonic() + GRACE
    while left := _left(item.stash[BEFORE]):
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {left}", pytrace=False)
        gc.collect()
        time.sleep(0.01)
    return result


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_loop(request: pytest.FixtureRequest) -> None:
    """What the loop's own end would sweep away is seen while the loop still runs."""
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("the_loop_is_left_empty")


@pytest.fixture
async def the_loop_is_left_empty() -> AsyncIterator[None]:
    """A test ends with the tasks and the sockets that it began with."""
    loop, tasks, sockets = asyncio.get_running_loop(), asyncio.all_tasks(), _open_sockets()
    yield
    deadline = loop.time() + GRACE
    while left := [
        *(asyncio.all_tasks() - tasks - {asyncio.current_task()}),
        *(_open_sockets() - sockets),
    ]:
        assert loop.time() < deadline, f"left in the loop: {left}"
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test touches what belongs to the person who runs it; temporary files are cleared away."""
    scratch = tmp_path / ".tmp"
    scratch.mkdir()
    monkeypatch.setenv("WRAITH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("WRAITH_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    unfinished = [path for path in tmp_path.rglob(".*") if SCRATCH.fullmatch(path.name)]
    assert [*scratch.iterdir(), *unfinished] == [], "temporary files were left behind"
    scratch.rmdir()
