"""A command that has only the tunnel: `wraith-tun --unshare`, as one user and to one proxy."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from interop.peers.process import Process
from interop.peers.roles import Address
from interop.peers.shim import run, shim
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment


@dataclass
class Alley:
    """One way to run a command behind a tunnel."""

    stage: Stage
    user: str
    proxy: Address

    def words(self, *command: str | Path, options: Sequence[str] = ()) -> list[str | Path]:
        return shim(self.stage, self.user, self.proxy, "--unshare", *options, command=command)

    def run(
        self, *command: str | Path, options: Sequence[str] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        return run(self.stage, self.words(*command, options=options), env)

    def say(self, *command: str | Path, options: Sequence[str] = (), **env: str) -> str:
        """What a command says; it must end well."""
        done = self.run(*command, options=options, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sh(self, script: str, **env: str) -> str:
        """What a shell script says; it must end well."""
        return self.say("sh", "-c", script, **env)

    def start(self, *command: str | Path) -> Process:
        home = self.stage.home("shim")
        process = Process(self.words(*command), home / "log", clean_environment(home))
        self.stage.callback(partial(_end, process))
        return process


def _end(process: Process) -> None:
    if process.running:
        process.kill()
