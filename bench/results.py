"""Samples, and what is made of them: medians with their spread, ratios pair by pair, JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.figures import FIGURES, Figure


@dataclass(frozen=True)
class Spread:
    """The middle and the edges of some samples."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """None for no values."""
        return cls(statistics.median(values), min(values), max(values)) if values else None


@dataclass
class Results:
    """Everything a run found out.

    `samples[figure][peer][round]` is a number, or None where that round gave none. Rounds are
    kept in step, so that two peers' samples of one round were taken side by side.
    """

    command: str
    date: str
    machine: dict[str, str]
    repetitions: int
    sizes: dict[str, int]
    peers: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    wrong_bytes: list[str] = field(default_factory=list)
    samples: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)

    def add(self, peer: str, round_number: int, figures: dict[str, float]) -> None:
        """Enter what one run of a measure gave."""
        for key, value in figures.items():
            column = self.samples.setdefault(key, {}).setdefault(peer, [])
            column.extend([None] * (round_number + 1 - len(column)))
            column[round_number] = value

    def figures(self) -> list[Figure]:
        """The figures that have samples, in the order of the tables."""
        return [figure for figure in FIGURES if self.samples.get(figure.key)]

    def peers_of(self, figure: Figure) -> list[str]:
        """The peers with samples of a figure, in the order of the tables."""
        return [name for name in self.peers if self.spread(figure, name)]

    def spread(self, figure: Figure, peer: str) -> Spread | None:
        """Median, least and greatest sample."""
        column = self.samples.get(figure.key, {}).get(peer, [])
        return Spread.of([value for value in column if value is not None])

    def ratio(self, figure: Figure, peer: str, base: str) -> Spread | None:
        """Peer divided by base, each round by itself; the spread of those ratios."""
        columns = self.samples.get(figure.key, {})
        pairs = zip(columns.get(peer, []), columns.get(base, []), strict=False)
        return Spread.of([ours / theirs for ours, theirs in pairs if ours is not None and theirs])

    def write(self, path: Path) -> None:
        """Write JSON: the samples, and the same numbers worked out, for other programs."""
        worked_out = {
            figure.key: {
                "title": figure.title,
                "unit": figure.unit,
                "more_is_better": figure.more_is_better,
                "targets": dict(figure.targets),
                "limit": figure.limit,
                "summary": {
                    peer: asdict(spread)
                    for peer in self.peers_of(figure)
                    if (spread := self.spread(figure, peer))
                },
                "ratios": {
                    base: {
                        peer: asdict(spread)
                        for peer in self.peers_of(figure)
                        if (spread := self.ratio(figure, peer, base))
                    }
                    for base in self.peers_of(figure)
                },
            }
            for figure in self.figures()
        }
        path.write_text(json.dumps({**asdict(self), "figures": worked_out}, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        fields = json.loads(path.read_text())
        fields.pop("figures")
        return cls(**fields)
