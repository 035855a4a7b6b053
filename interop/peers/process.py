"""One child process: its readiness line, its log, its end, and what it holds meanwhile."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, Signals
from typing import Any, cast


class DidNotStart(Exception):
    """A process ended, or kept silent, before it was ready; holds its log."""

    def __init__(self, command: Sequence[str], exit_code: int | None, log: str) -> None:
        ended = "kept silent" if exit_code is None else f"ended with {exit_code}"
        super().__init__(f"{command[0]} {ended} before it was ready:\n{log}")
        self.exit_code = exit_code
        self.log = log


@dataclass(frozen=True)
class Holdings:
    """What a process holds at one moment; `memory` is its resident set in KiB."""

    descriptors: int
    threads: int
    memory: int


def wait_until(true: Callable[[], bool], within: float, what: str) -> float:
    """Wait for something to become true and return how many seconds that took."""
    begun = time.monotonic()
    while not true():
        if time.monotonic() - begun > within:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - begun


class Process:
    """A child in a session of its own, with both outputs in one log file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        env: dict[str, str],
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.command = [str(word) for word in command]
        self._log = log
        self.killed = False
        with log.open("ab") as output:
            self._begins = output.tell()
            self._child = subprocess.Popen(
                self.command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=pass_fds,
                start_new_session=True,
            )

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended with {self._child.returncode}"
        return f"<{self.command[0]} {self.pid} {state}>"

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll()

    @property
    def log(self) -> str:
        """What this process wrote so far (without an earlier one's part of the same file)."""
        return self._log.read_bytes()[self._begins :].decode(errors="replace")

    def family(self) -> list[int]:
        """The process itself and all its descendants, parents first."""
        return [self.pid, *descendants(self.pid)] if self.running else []

    def signal(self, number: Signals) -> None:
        """Signal the process alone."""
        self._child.send_signal(number)

    def signal_family(self, number: Signals) -> None:
        """Signal the process and every descendant, as a machine that dies or freezes would."""
        for pid in self.family():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def wait(self, within: float = 10) -> int:
        """Wait for the end and return the exit code."""
        return self._child.wait(within)

    def stop(self, within: float = 10) -> int:
        """Ask it to end (SIGTERM), wait, and return the exit code; kill it only if it stays."""
        self.signal_family(SIGCONT)
        heirs = self.family()[1:]
        self._child.terminate()
        try:
            return self._child.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self!r} did not end within {within} s of SIGTERM") from None
        finally:
            _await_ends(heirs)

    def kill(self) -> None:
        """End the process and its descendants at once (SIGKILL)."""
        heirs = self.family()
        self.killed = self.killed or self.running
        self.signal_family(SIGKILL)
        self._child.wait(10)
        _await_ends(heirs)

    def wait_for_log(self, done: Callable[[str], bool], within: float = 15) -> str:
        """Wait until the log satisfies `done`; raise `DidNotStart` if the process ends first."""
        until = time.monotonic() + within
        while not done(self.log):
            if not self.running or time.monotonic() > until:
                raise DidNotStart(self.command, self.exit_code, self.log)
            time.sleep(0.01)
        return self.log

    def holdings(self) -> Holdings:
        """Count descriptors, threads and memory of the process itself."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        return Holdings(
            descriptors=len(os.listdir(f"/proc/{self.pid}/fd")),
            threads=int(values["Threads"]),
            memory=int(values["VmRSS"].split()[0]),
        )


class ReadyPipe:
    """The descriptor behind `--ready-fd`: one JSON line says that the program is ready."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()

    def read(self, process: Process, within: float = 20) -> dict[str, Any]:
        """Wait for the line; raise `DidNotStart` if the program ends or keeps silent."""
        os.close(self.writer)
        line, until = b"", time.monotonic() + within
        try:
            while not line.endswith(b"\n"):
                left = max(0.0, until - time.monotonic())
                ready, _, _ = select.select([self._reader], [], [], left)
                piece = os.read(self._reader, 65536) if ready else b""
                if not piece:
                    code = process.wait() if ready else process.exit_code
                    raise DidNotStart(process.command, code, process.log)
                line += piece
        finally:
            os.close(self._reader)
        return cast("dict[str, Any]", json.loads(line))


def descendants(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    waiting = list(children.get(pid, []))
    while waiting:
        yield (child := waiting.pop(0))
        waiting += children.get(child, [])


def _await_ends(pids: Sequence[int]) -> None:
    """Descendants get a moment to follow; who stays has been left behind, and is ended."""
    try:
        wait_until(lambda: not any(_alive(pid) for pid in pids), 3, "descendants ended")
    except AssertionError:
        for pid in filter(_alive, pids):
            os.kill(pid, SIGKILL)
        raise


def _alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
