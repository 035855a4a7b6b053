"""What is wrong with one line of a file whose other lines work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A line, counted from 1, that cannot be used, and why; never a destination or a key in it."""

    line: int
    text: str
