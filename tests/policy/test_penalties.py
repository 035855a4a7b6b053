"""How often: offences add up, and time forgives them."""

from __future__ import annotations

import ipaddress

import pytest

from wraith.policy.penalties import Offence, Penalties

ADDRESS = "192.0.2.1"


def fail(penalties: Penalties, times: int, *, address: str = ADDRESS, now: float = 0.0) -> None:
    for _ in range(times):
        penalties.penalise(address, Offence.AUTH_FAILED, now)


def test_nobody_is_refused_at_first() -> None:
    assert Penalties().refused_for(ADDRESS, 0.0) == 0


def test_a_mistyped_login_or_two_cost_nothing() -> None:
    penalties = Penalties()
    fail(penalties, 2)
    assert penalties.refused_for(ADDRESS, 0.0) == 0


def test_the_third_within_seconds_is_enforced() -> None:
    penalties = Penalties()
    fail(penalties, 3)
    assert penalties.refused_for(ADDRESS, 0.0) == 15
    assert penalties.refused_for(ADDRESS, 14.0) == 1
    assert penalties.refused_for(ADDRESS, 15.0) == 0
    assert penalties.refused_for("192.0.2.2", 0.0) == 0


def test_those_without_an_address_do_not_answer_for_each_other() -> None:
    penalties = Penalties()
    fail(penalties, 1000, address="")
    assert penalties.refused_for("", 0.0) == 0


def test_penalties_add_up_to_ten_minutes() -> None:
    penalties = Penalties()
    fail(penalties, 1000)
    assert penalties.refused_for(ADDRESS, 0.0) == 600
    assert penalties.refused_for(ADDRESS, 600.0) == 0


def test_once_enforced_they_stay_so_to_their_end() -> None:
    penalties = Penalties()
    fail(penalties, 3)
    penalties.penalise(ADDRESS, Offence.NO_AUTH, 14.0)
    assert penalties.refused_for(ADDRESS, 14.0) == 2


def test_what_has_ended_is_forgotten() -> None:
    penalties = Penalties()
    fail(penalties, 2)
    fail(penalties, 2, now=10.0)
    assert penalties.refused_for(ADDRESS, 10.0) == 0
    fail(penalties, 1, address="192.0.2.2", now=30.0)
    assert len(penalties) == 1


@pytest.mark.parametrize(
    ("offence", "seconds"),
    [(Offence.AUTH_FAILED, 5), (Offence.NO_AUTH, 1), (Offence.GRACE_EXCEEDED, 10)],
)
def test_each_offence_has_its_price(offence: Offence, seconds: float) -> None:
    penalties = Penalties(least=0)
    penalties.penalise(ADDRESS, offence, 100.0)
    assert penalties.refused_for(ADDRESS, 100.0) == seconds


def test_the_ipv6_addresses_of_one_customer_are_one() -> None:
    penalties = Penalties()
    fail(penalties, 2, address="2001:db8::1")
    fail(penalties, 1, address="2001:db8::2")
    assert penalties.refused_for("2001:db8::3", 0.0) == 15
    assert penalties.refused_for("2001:db8:0:1::3", 0.0) == 0


def test_some_are_exempt() -> None:
    exempt = Penalties(exempt=[ipaddress.ip_network("192.0.2.0/24")])
    fail(exempt, 10)
    fail(exempt, 10, address="198.51.100.1")
    assert exempt.refused_for(ADDRESS, 0.0) == 0
    assert exempt.refused_for("198.51.100.1", 0.0) == 50
    assert len(exempt) == 1


def test_the_one_that_is_free_soonest_makes_room() -> None:
    penalties = Penalties(max_sources=3)
    fail(penalties, 4, address="192.0.2.1", now=0.0)
    fail(penalties, 3, address="192.0.2.2", now=1.0)
    fail(penalties, 5, address="192.0.2.3", now=2.0)
    fail(penalties, 3, address="192.0.2.4", now=3.0)

    assert len(penalties) == 3
    refused = {n: penalties.refused_for(f"192.0.2.{n}", 3.0) for n in range(1, 5)}
    assert refused == {1: 17, 2: 0, 3: 24, 4: 15}


def test_a_flood_of_addresses_is_bounded() -> None:
    penalties = Penalties(max_sources=100)
    for number in range(1000):
        fail(penalties, 3, address=f"10.0.{number // 250}.{number % 250}", now=number / 1000)
    assert len(penalties) == 100
