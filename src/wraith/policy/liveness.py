"""Is the peer still there? The arithmetic of keepalive; time is passed in.

Something must arrive within each `interval`, else the peer is asked; three silent intervals end
the session (OpenSSH's ServerAliveInterval with ServerAliveCountMax 2, ssh_config(5)). A check that
comes far too late means that this machine slept: then the silence is ours, and the peer is asked
once more before it is called dead.
"""

from __future__ import annotations

from enum import Enum, auto

SILENT_INTERVALS = 3


class Verdict(Enum):
    """What a check found."""

    ALIVE = auto()
    ASK = auto()  # send a probe now
    DEAD = auto()


class Liveness:
    """The state of one connection.

    Times are seconds on one monotonic clock. `interval` is the keepalive, in seconds, and must be
    positive.
    """

    __slots__ = ("_deadline", "_heard", "_interval", "_next_probe")

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self.heard(now)

    def heard(self, now: float) -> None:
        """Something arrived."""
        self._heard = now
        self._next_probe = now + self._interval
        self._deadline = now + SILENT_INTERVALS * self._interval

    @property
    def next_check(self) -> float:
        """When `check` should be called."""
        return min(self._next_probe, self._deadline)

    def check(self, now: float) -> Verdict:
        """Judge the silence so far; to be called at `next_check`, or later."""
        if now < self.next_check:
            return Verdict.ALIVE
        overslept = now - self.next_check
        if overslept > self._interval:
            self._deadline = now + self._interval
            self._next_probe = self._deadline + self._interval
            return Verdict.ASK
        if now >= self._deadline:
            return Verdict.DEAD
        self._next_probe += self._interval
        return Verdict.ASK
