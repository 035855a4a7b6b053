"""What is measured: one `Figure` is one line of the results.

Targets are what Wraith aims at. They are printed beside the results and fail nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

AES, DEFAULT = "OpenSSH aes128-gcm", "OpenSSH default"


@dataclass(frozen=True)
class Figure:
    """One line of the results. `targets` are ratios to the named peers."""

    key: str
    title: str
    unit: str
    more_is_better: bool = True
    targets: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None  # an aim in the figure's own unit


def _more(key: str, title: str, unit: str, aes: float, default: float) -> Figure:
    return Figure(key, title, unit, True, {AES: aes, DEFAULT: default})


def _less(key: str, title: str, unit: str, ratio: float) -> Figure:
    return Figure(key, title, unit, False, {AES: ratio, DEFAULT: ratio})


def _bounded(key: str, title: str, unit: str, limit: float | None = None) -> Figure:
    return Figure(key, title, unit, False, limit=limit)


# In the order of the tables.
FIGURES: tuple[Figure, ...] = (
    _more("down", "bulk down, one stream", "MB/s", 1.3, 1.8),
    _more("up", "bulk up, one stream", "MB/s", 1.3, 1.8),
    _more("link", "bulk down, 100 ms round trip", "MB/s", 5.0, 5.0),
    _less("down-cpu", "CPU per GB down, both sides", "s", 0.8),
    _less("up-cpu", "CPU per GB up, both sides", "s", 0.8),
    _bounded("start", "client start to first byte", "s", 0.5),
    _more("conn", "new connections, 32 at a time", "/s", 1.0, 1.0),
    _more("ping1", "ping-pong, 1 at a time", "/s", 1.0, 1.0),
    _more("ping32", "ping-pong, 32 at a time", "/s", 1.0, 1.0),
    Figure("udp1", "datagrams there and back, 1 at a time", "/s"),
    Figure("udp32", "datagrams there and back, 32 at a time", "/s"),
    _bounded("conn-p99", "new connections, p99", "ms"),
    _less("ping1-p99", "ping-pong, 1 at a time, p99", "µs", 1.0),
    _less("ping32-p99", "ping-pong, 32 at a time, p99", "µs", 1.0),
    _bounded("udp1-p99", "datagrams, 1 at a time, p99", "µs"),
    _bounded("udp32-p99", "datagrams, 32 at a time, p99", "µs"),
    _less("idle", "memory per idle channel, both sides", "KiB", 0.1),
    _bounded("sessions", "server memory per SSH session, with one channel", "KiB"),
    _bounded("stall", "memory under stalled readers, a side", "MB", 32.0),
    _bounded("stall-p99", "ping-pong beside stalled readers, p99", "µs"),
)
