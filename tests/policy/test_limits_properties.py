"""The books of connections and penalties, after any run of events."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from wraith.policy.limits import StartupLimits
from wraith.policy.penalties import PENALTIES, Offence, Penalties

addresses = st.sampled_from([f"192.0.2.{n}" for n in range(6)])
rolls = st.floats(0, 1, exclude_max=True)
events = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), addresses, rolls),
        st.tuples(st.sampled_from(["authenticated", "end"]), st.integers(0, 30), st.none()),
    ),
    max_size=60,
)


@given(events)
def test_no_limit_is_ever_exceeded_and_all_places_come_back(
    given_events: list[tuple[str, str | int, float | None]],
) -> None:
    limits = StartupLimits(max_startups=5, max_per_address=3, max_connections_per_ip=4)
    starting: dict[int, str] = {}
    opened: dict[int, str] = {}
    for event, what, roll in given_events:
        if isinstance(what, str) and roll is not None:
            token = limits.begin(what, roll).token
            if token is not None:
                starting[token] = opened[token] = what
        elif event == "end" and isinstance(what, int):
            limits.end(what)
            starting.pop(what, None)
            opened.pop(what, None)
        elif isinstance(what, int):
            limits.authenticated(what)
            starting.pop(what, None)
        assert len(starting) <= 5
        assert max(Counter(starting.values()).values(), default=0) <= 3
        assert max(Counter(opened.values()).values(), default=0) <= 4
        assert repr(limits) == f"<StartupLimits {len(starting)} starting, {len(opened)} open>"
    for token in [*opened]:
        limits.end(token)
    assert limits.begin("192.0.2.1", 0.0).admitted


class NaivePenalties:
    """Only a dictionary of ends, and a set of those that are enforced."""

    def __init__(self) -> None:
        self.ends: dict[str, float] = {}
        self.enforced: set[str] = set()

    def penalise(self, address: str, offence: Offence, now: float) -> None:
        if self.ends.get(address, now) <= now:
            self.enforced.discard(address)
        owed = max(self.ends.get(address, now) - now, 0) + PENALTIES[offence]
        self.ends[address] = now + min(owed, 600)
        if owed >= 15:
            self.enforced.add(address)

    def refused_for(self, address: str, now: float) -> float:
        return max(0, self.ends[address] - now) if address in self.enforced else 0


@given(
    st.lists(
        st.tuples(
            addresses, st.sampled_from(list(Offence)), st.sampled_from([0.0, 0.5, 3.0, 20.0, 700.0])
        ),
        max_size=60,
    )
)
def test_penalties_against_a_dictionary(given_events: list[tuple[str, Offence, float]]) -> None:
    clever, simple = Penalties(), NaivePenalties()
    now = 0.0
    for address, offence, later in given_events:
        now += later
        clever.penalise(address, offence, now)
        simple.penalise(address, offence, now)
        for asked in (f"192.0.2.{n}" for n in range(6)):
            assert clever.refused_for(asked, now) == simple.refused_for(asked, now)
