"""Wraith on other event loops than the one that its command line chooses."""

from __future__ import annotations

import importlib.util
import sys

from bench.peers.wraith import Wraith


class WraithAsyncio(Wraith):
    """On asyncio's own selector loop."""

    name = "wraith on asyncio"
    note = "wraith on asyncio's own loop"
    loop = "asyncio"

    def program(self) -> list[str]:
        return [sys.executable, "-m", "bench.loop", self.loop]


class WraithUvloop(WraithAsyncio):
    """On libuv."""

    name = "wraith on uvloop"
    note = "wraith on uvloop"
    loop = "uvloop"

    @classmethod
    def missing(cls) -> str | None:
        absent = importlib.util.find_spec("uvloop") is None
        return "not installed (pip: uvloop)" if absent else super().missing()
