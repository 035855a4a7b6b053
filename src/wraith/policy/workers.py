"""Several processes that serve together: who gets the next connection, and who is started again.

A connection of a tunnel lives for days, so it matters that they are spread evenly, and not who was
quickest to take one. Time is passed in, in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0

GOOD_LIFE = 30.0
"""A worker that lived so long did not fail by its start: the next one is started at once."""


class Restarts:
    """After how long the worker in one place is started again; one for each place."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY

    def __repr__(self) -> str:
        return f"<Restarts delay={self._delay:g}>"

    def delay(self, lived: float, *, asked: bool = False) -> float:
        """Seconds until the next start, after a worker that `lived` so long.

        None are lost where the worker was `asked` to end. Others wait 0.5, 1, 2 … 30 s, so that one
        that cannot live costs little.
        """
        if asked or lived >= GOOD_LIFE:
            self._delay = FIRST_DELAY
            return 0.0
        delay, self._delay = self._delay, min(LONGEST_DELAY, self._delay * 2)
        return delay


class Shares:
    """Which worker holds which place, by the token of each connection that it was given."""

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self._held: Counter[int] = Counter()
        self._last = 0

    def __repr__(self) -> str:
        return f"<Shares {dict(self._held)}>"

    def __len__(self) -> int:
        return len(self._holders)

    def choose(self, ready: Collection[int]) -> int | None:
        """The worker with the fewest connections; those that have as many take turns.

        `ready` are the numbers of workers that take connections; None where none does.
        """
        if not ready:
            return None
        fewest = min(self._held[worker] for worker in ready)
        candidates = sorted(worker for worker in ready if self._held[worker] == fewest)
        self._last = next((item for item in candidates if item > self._last), candidates[0])
        return self._last

    def give(self, token: int, worker: int) -> None:
        """A worker has a connection from now on."""
        self._holders[token] = worker
        self._held[worker] += 1

    def holds(self, token: int, worker: int) -> bool:
        """Whether it is this worker that has it; what another says of it counts for nothing."""
        return self._holders.get(token) == worker

    def take_back(self, token: int) -> None:
        """A connection has ended; a second time changes nothing."""
        worker = self._holders.pop(token, None)
        if worker is not None:
            self._held[worker] -= 1

    def tokens_of(self, worker: int) -> list[int]:
        """What a worker holds: all of it is to be given back when the worker has died."""
        return [token for token, holder in self._holders.items() if holder == worker]


def total(counts: Iterable[Counter[str]]) -> Counter[str]:
    """Several counts as one."""
    summed: Counter[str] = Counter()
    for count in counts:
        summed.update(count)
    return summed
