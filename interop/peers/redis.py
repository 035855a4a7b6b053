"""A real Redis that can be killed and comes back at the same port."""

from __future__ import annotations

import socket
from pathlib import Path
from signal import SIGKILL

from interop.peers.process import Process, wait_until
from interop.peers.roles import free_port
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool


class Redis:
    """`redis-server` on loopback, in memory only."""

    def __init__(self, stage: Stage) -> None:
        self._home = stage.home("redis")
        self.port = free_port()
        self.start()
        stage.callback(self.kill)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again at the same port, and wait until it answers."""
        options: list[str | Path] = [
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dir",
            self._home,
        ]
        options += ["--save", "", "--appendonly", "no"]
        self.process = Process(
            [require_tool("redis-server"), *options],
            self._home / "log",
            clean_environment(self._home),
        )
        wait_until(self._answers, 10, "Redis answers")

    def kill(self) -> None:
        """As a machine that dies: nothing is said to anybody."""
        if self.process.running:
            self.process.signal(SIGKILL)
            self.process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(16).startswith(b"+PONG")
        except OSError:
            return False
