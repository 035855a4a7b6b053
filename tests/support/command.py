"""The command line, in this process or as a child that is waited for."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner

from wraith.cli import cli
from wraith.ssh.keys import PrivateKey, generate
from wraith.state.files import write_private

PATIENCE = 30.0  # seconds for a child; an interpreter starts slowly on a busy machine


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    exit_code: int
    stdout: str
    stderr: str


def wraith(*arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Ended:
    """Run a command in this process to its end."""
    result = CliRunner().invoke(cli, list(arguments), env=env, input=stdin, prog_name="wraith")
    return Ended(result.exit_code, result.stdout, result.stderr)


def values_of(name: str, *arguments: str) -> dict[str, Any]:
    """The values that a command would run with."""
    with cli.make_context("wraith", [name], resilient_parsing=True) as group:
        command = cli.commands[name]
        with command.make_context(name, list(arguments), parent=group) as ctx:
            return dict(ctx.params)


class Child:
    """A command as a process of its own; a context manager that ends it."""

    def __init__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        ready: bool = False,
        pass_fds: Sequence[int] = (),
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        command: Sequence[str] = (sys.executable, "-m", "wraith"),
    ) -> None:
        self._ready, theirs = os.pipe()
        extra = ["--ready-fd", str(theirs)] if ready else []
        self.process = subprocess.Popen(
            [*command, *arguments, *extra],
            env={**os.environ, **(env or {})},
            pass_fds=[theirs, *pass_fds],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        os.close(theirs)
        assert self.process.stderr is not None
        self._stderr = self.process.stderr.fileno()
        self.said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self._ready)

    def facts(self) -> dict[str, Any]:
        """What it wrote to `--ready-fd`."""
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([self._ready], [], [], PATIENCE)[0], "it was never ready"
            data = os.read(self._ready, 4096)
            assert data, self.rest()
            line += data
        facts: dict[str, Any] = json.loads(line)
        return facts

    def hears(self, text: str) -> str:
        """Read what it says on stderr until `text` is in it; all that was said so far."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.said:
            left = deadline - time.monotonic()
            assert left > 0, f"not said: {text!r}, but: {self.said}"
            if select.select([self._stderr], [], [], left)[0]:
                data = os.read(self._stderr, 65536)
                assert data, f"not said: {text!r}, but: {self.said}"
                self.said += data.decode()
        return self.said

    def rest(self) -> str:
        """All that it said on stderr, once it has ended."""
        while data := os.read(self._stderr, 65536):
            self.said += data.decode()
        return self.said

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def ends(self) -> Ended:
        """Wait for the end, reading what it says."""
        stdout, stderr = self.process.communicate(timeout=PATIENCE)
        self.said += stderr.decode()
        return Ended(self.process.returncode, (stdout or b"").decode(), self.said)


@dataclass(frozen=True)
class Material:
    """Keys and files for one server and one client."""

    folder: Path
    key: PrivateKey

    @property
    def identity(self) -> str:
        return str(self.folder / "id_ed25519")

    @property
    def authorized(self) -> Path:
        return self.folder / "authorized_keys"

    def serve(self, *more: str) -> list[str]:
        where = ["serve", "--listen", "127.0.0.1:0", "--key", str(self.folder / "host_key")]
        return [*where, "--authorized-keys", str(self.authorized), *more]

    def connect(self, facts: Mapping[str, Any], *more: str, command: str = "connect") -> list[str]:
        server = facts["listen"][0].removeprefix("tcp://")
        whom = [command, "--server", server, "--host-key", facts["host_key"]]
        local = ["--socks5", "127.0.0.1:0"] if command == "connect" else []
        return [*whom, "--identity", self.identity, *local, *more]


def make_material(folder: Path) -> Material:
    """A key pair, and an authorized_keys file that lets it in."""
    key = generate("tester")
    folder.mkdir(mode=0o700)
    material = Material(folder, key)
    write_private(Path(material.identity), key.export())
    material.authorized.write_text(key.public.line() + "\n")
    return material


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
