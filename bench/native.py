"""The load generator: compiled once with `cc -O2`, then run role by role.

Its roles and options are described in `loadgen/`. Nothing here is timed; the C program times
itself.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "out"

_WRONG_BYTES = 2  # the exit code: loadgen/common.h


class CouldNot(Exception):
    """A run ended without a result: refused, reset, out of time."""


class WrongBytes(Exception):
    """What arrived differs from what was sent. The one thing that fails a benchmark."""


def build() -> Path:
    """Compile the load generator, if its sources are newer than the binary."""
    sources = sorted((HERE / "loadgen").glob("*.c"))
    newest = max(path.stat().st_mtime for path in (HERE / "loadgen").iterdir())
    binary = OUT / "loadgen"
    if not binary.exists() or binary.stat().st_mtime < newest:
        OUT.mkdir(parents=True, exist_ok=True)
        fresh = binary.with_suffix(".new")
        try:
            subprocess.run(
                ["cc", "-O2", "-Wall", "-Wextra", "-o", str(fresh), *map(str, sources)], check=True
            )
        except FileNotFoundError:
            raise SystemExit(
                "the load generator needs a C compiler: install gcc or clang"
            ) from None
        fresh.replace(binary)
    return binary


class Loadgen:
    """The compiled load generator."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def argv(self, role: str, options: dict[str, int]) -> list[str]:
        """The command line of a role."""
        return [str(self._binary), role, *(f"{name}={value}" for name, value in options.items())]

    def start(self, role: str, **options: int) -> subprocess.Popen[str]:
        """Start a role and return at once. It ends when its stdin closes, or by its own limit."""
        return subprocess.Popen(
            self.argv(role, options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> dict[str, float]:
        """Wait for a role to end. Raises `CouldNot` or `WrongBytes` with its own words."""
        output, complaint = process.communicate()
        if process.returncode == _WRONG_BYTES:
            raise WrongBytes(complaint.strip())
        if process.returncode != 0 or not output.strip():
            raise CouldNot(complaint.strip() or f"exit code {process.returncode}")
        return _figures(output)

    def run(self, role: str, **options: int) -> dict[str, float]:
        """Run a role to its end and return its figures."""
        process = self.start(role, **options)
        try:
            return self.finish(process)
        finally:
            end(process)

    @contextlib.contextmanager
    def serving(self, role: str, **options: int) -> Iterator[dict[str, int]]:
        """Hold a role that announces itself and then stays: origin, relay, idle."""
        process = self.start(role, **options)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                self.finish(process)
            yield {name: int(value) for name, value in _figures(line).items()}
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a role, however far it got."""
    if process.poll() is None:
        process.kill()
    with contextlib.suppress(ValueError, OSError):
        process.communicate()


def _figures(line: str) -> dict[str, float]:
    parsed: dict[str, float] = json.loads(line)
    return parsed
