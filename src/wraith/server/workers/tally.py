"""The counts of all workers as one server's, for whoever shows them.

Workers report now and then, so that a figure may be a second old. What a worker has counted
outlives it: a counter that went back would be read as a new server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from wraith._version import __version__
from wraith.policy.workers import total
from wraith.server.counts import Counts
from wraith.server.serve import Server


@dataclass(frozen=True, slots=True)
class Report:
    """What one worker counts."""

    strangers: int = 0
    sessions: int = 0
    channels: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    authentications: Mapping[str, int] = field(default_factory=dict)
    channel_opens: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, server: Server) -> Self:
        """What a server counts now."""
        came, went = server.traffic
        return cls(
            strangers=server.stranger_count,
            sessions=server.session_count,
            channels=server.channel_count,
            bytes_in=came,
            bytes_out=went,
            authentications=dict(server.counts.authentications),
            channel_opens=dict(server.counts.channels),
        )

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """From what a worker said."""
        return cls(**fields)


class Tally:
    """As a server for `Metrics`; `counts` are the parent's own."""

    version = __version__

    def __init__(self, counts: Counts) -> None:
        self._own = counts
        self._past = Counts()
        self._reports: dict[int, Report] = {}

    def __repr__(self) -> str:
        return f"<Tally workers={len(self._reports)}>"

    def heard(self, worker: int, report: Report) -> None:
        """A worker has counted so much by now."""
        self._reports[worker] = report

    def ended(self, worker: int) -> None:
        """A worker is no more; what it had open is closed, and what it did is done."""
        report = self._reports.pop(worker, Report())
        self._past.bytes_in += report.bytes_in
        self._past.bytes_out += report.bytes_out
        self._past.authentications.update(report.authentications)
        self._past.channels.update(report.channel_opens)

    @property
    def counts(self) -> Counts:
        """Sums over all workers, those that are gone included."""
        counts, reports = Counts(), self._reports.values()
        counts.connections = self._own.connections
        counts.authentications = total(
            [self._past.authentications, *(Counter(item.authentications) for item in reports)]
        )
        counts.channels = total(
            [self._past.channels, *(Counter(item.channel_opens) for item in reports)]
        )
        return counts

    @property
    def stranger_count(self) -> int:
        """As `Server.stranger_count`."""
        return sum(report.strangers for report in self._reports.values())

    @property
    def session_count(self) -> int:
        """As `Server.session_count`."""
        return sum(report.sessions for report in self._reports.values())

    @property
    def channel_count(self) -> int:
        """As `Server.channel_count`."""
        return sum(report.channels for report in self._reports.values())

    @property
    def traffic(self) -> tuple[int, int]:
        """As `Server.traffic`."""
        reports = self._reports.values()
        return (
            self._past.bytes_in + sum(report.bytes_in for report in reports),
            self._past.bytes_out + sum(report.bytes_out for report in reports),
        )
