"""Who may answer: the stories, and a slow and obvious twin on random input."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from wraith.policy.datagram_routes import DatagramRoutes

Routes = DatagramRoutes[str]


def test_only_a_partner_that_was_written_to_may_answer() -> None:
    routes = Routes()
    assert routes.find(b"a", 0) is None
    assert routes.name_of("A", 0) is None
    routes.add(b"a", "A", 0)
    assert routes.find(b"a", 1) == "A"
    assert routes.name_of("A", 1) == b"a"
    assert routes.name_of("B", 1) is None
    assert repr(routes) == "<DatagramRoutes 1>"


def test_a_route_is_forgotten_after_its_time_and_either_direction_keeps_it() -> None:
    routes = Routes(idle=60)
    routes.add(b"a", "A", 0)
    assert routes.name_of("A", 59) == b"a"
    assert routes.find(b"a", 118) == "A"
    assert routes.name_of("A", 178) is None
    assert routes.find(b"a", 178) is None
    assert len(routes) == 0


def test_expiry_takes_those_whose_time_has_come() -> None:
    routes = Routes(idle=60)
    routes.add(b"a", "A", 0)
    routes.add(b"b", "B", 30)
    routes.expire(60)
    assert (len(routes), routes.name_of("A", 60), routes.name_of("B", 60)) == (1, None, b"b")
    routes.clear()
    assert (len(routes), routes.name_of("B", 60)) == (0, None)


def test_an_answer_bears_the_name_that_was_used_last() -> None:
    routes = Routes()
    routes.add(b"name", "A", 0)
    routes.add(b"address", "A", 1)
    assert routes.name_of("A", 1) == b"address"
    routes.find(b"name", 2)
    assert routes.name_of("A", 2) == b"name"


def test_a_name_may_move() -> None:
    routes = Routes()
    routes.add(b"name", "A", 0)
    routes.add(b"name", "B", 1)
    assert (routes.name_of("A", 1), routes.name_of("B", 1), len(routes)) == (None, b"name", 1)


def test_the_one_written_to_longest_ago_makes_room() -> None:
    routes = Routes(most=2)
    routes.add(b"a", "A", 0)
    routes.add(b"b", "B", 1)
    routes.find(b"a", 2)
    routes.add(b"c", "C", 3)
    assert [routes.name_of(partner, 3) for partner in "ABC"] == [b"a", None, b"c"]


class Naive:
    """All that ever happened, looked through from the end."""

    def __init__(self, idle: float) -> None:
        self.idle = idle
        self.routes: list[tuple[bytes, str, float, float]] = []  # name, partner, used, written

    def find(self, written: bytes, now: float) -> str | None:
        for route in self.routes:
            if route[0] == written:
                self.routes.remove(route)
                if now - route[2] >= self.idle:
                    return None
                self.routes.append((written, route[1], now, now))
                return route[1]
        return None

    def add(self, written: bytes, partner: str, now: float) -> None:
        self.routes = [route for route in self.routes if route[0] != written]
        self.routes.append((written, partner, now, now))

    def name_of(self, partner: str, now: float) -> bytes | None:
        for index in reversed(range(len(self.routes))):
            written, who, used, sent = self.routes[index]
            if who == partner:
                if now - used >= self.idle:
                    return None
                self.routes[index] = (written, who, now, sent)
                return written
        return None


names = st.sampled_from([b"a", b"b", b"c"])
partners = st.sampled_from("AB")
steps = st.lists(
    st.tuples(st.sampled_from(["find", "add", "name_of"]), names, partners, st.integers(0, 40)),
    max_size=40,
)


@settings(max_examples=300)
@given(steps)
def test_it_answers_as_the_obvious_one(steps: list[tuple[str, bytes, str, int]]) -> None:
    """Each name keeps its partner here, as one does while it is written to."""
    routes, naive, now = Routes(idle=60), Naive(idle=60), 0.0
    partner_of = {b"a": "A", b"b": "B", b"c": "B"}
    for call, name, partner, later in steps:
        now += later
        if call == "add":
            if naive.find(name, now) is None:
                routes.find(name, now)
                routes.add(name, partner_of[name], now)
                naive.add(name, partner_of[name], now)
            else:
                routes.find(name, now)
        elif call == "find":
            assert routes.find(name, now) == naive.find(name, now)
        else:
            assert routes.name_of(partner, now) == naive.name_of(partner, now)
