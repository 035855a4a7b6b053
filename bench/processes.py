"""Processes that the benchmark starts: their beginning, their end, and what they cost.

Every process is ended by its own id, with the children it has at that moment (an `sshd` session
outlives the listener that made it).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.native import CouldNot

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
START_TIMEOUT = 15.0


class Processes:
    """A group of processes that belong together: one side of a tunnel."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._members: list[subprocess.Popen[bytes]] = []

    def spawn(
        self,
        argv: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        quiet: bool = False,
    ) -> None:
        """Start a process; what it says goes to the log, or nowhere when it says too much."""
        with self._log.open("ab") as log:
            output = subprocess.DEVNULL if quiet else log
            member = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=pass_fds,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )
        self._members.append(member)

    def pids(self) -> list[int]:
        """Every living process of the group, children included."""
        return with_descendants(member.pid for member in self._members if member.poll() is None)

    def check_alive(self) -> None:
        """Raise `CouldNot` with the end of the log when a process has ended by itself."""
        for member in self._members:
            if member.poll() is not None:
                lines = self._log.read_text(errors="replace").strip().splitlines()
                said = " / ".join(lines[-3:]) or "nothing on its output"
                raise CouldNot(f"ended with code {member.returncode}: {said}")

    def stop(self) -> None:
        """End them all: politely, then firmly."""
        pids = self.pids()
        for pid in pids:
            _signal(pid, signal.SIGTERM)
        limit = time.monotonic() + 4.0
        while time.monotonic() < limit and any(map(_alive, pids)):
            for member in self._members:
                member.poll()
            time.sleep(0.01)
        for pid in filter(_alive, pids):
            _signal(pid, signal.SIGKILL)
        for member in self._members:
            member.wait()
        self._members.clear()


def wait_for_port(port: int, *groups: Processes) -> None:
    """Return when `port` accepts. Raises `CouldNot` when a process has ended or time is up."""
    limit = time.monotonic() + START_TIMEOUT
    while time.monotonic() < limit:
        for group in groups:
            group.check_alive()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise CouldNot(f"nothing listens on 127.0.0.1:{port} after {START_TIMEOUT:.0f} s")


def read_line(descriptor: int, group: Processes, patience: float = START_TIMEOUT) -> str:
    """Read one line from a pipe. Raises `CouldNot` as `wait_for_port` does."""
    limit = time.monotonic() + patience
    line = b""
    while time.monotonic() < limit and not line.endswith(b"\n"):
        group.check_alive()
        if select.select([descriptor], [], [], 0.05)[0]:
            piece = os.read(descriptor, 65536)
            if not piece:
                break
            line += piece
    if not line.endswith(b"\n"):
        group.check_alive()
        raise CouldNot("it did not report that it is ready")
    return line.decode()


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def with_descendants(pids: Iterable[int]) -> list[int]:
    """The processes and all their children's children."""
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def resident_bytes(pids: Sequence[int]) -> int:
    """Resident memory now, summed."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return total


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time so far, of the processes and of children they have waited for."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold spaces; utime is the 14th field of proc(5).
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
