"""How many connections: places taken, given back and refused."""

from __future__ import annotations

import pytest

from wraith.policy.limits import Admission, StartupLimits, StartupRefusal, source_of

NEVER = 0.999999  # a roll that early drop never takes
ALWAYS = 0.0


def admitted(admission: Admission) -> int:
    assert admission.admitted, admission
    assert admission.token is not None
    return admission.token


def refusal(admission: Admission) -> StartupRefusal | None:
    assert not admission.admitted
    assert admission.token is None
    return admission.refusal


def test_each_address_has_its_share_of_the_places() -> None:
    limits = StartupLimits(max_startups=100, max_per_address=2)
    admitted(limits.begin("192.0.2.1", NEVER))
    second = admitted(limits.begin("192.0.2.1", NEVER))
    assert refusal(limits.begin("192.0.2.1", NEVER)) == "max-startups-per-ip"
    admitted(limits.begin("192.0.2.2", NEVER))

    limits.authenticated(second)
    admitted(limits.begin("192.0.2.1", NEVER))


def test_those_without_an_address_share_the_places_of_one_until_they_are_known() -> None:
    limits = StartupLimits(max_per_address=2, max_connections_per_ip=2)
    tokens = [admitted(limits.begin("", NEVER)) for _ in range(2)]
    assert refusal(limits.begin("", NEVER)) == "max-startups-per-ip"
    admitted(limits.begin("192.0.2.1", NEVER))
    for token in tokens:
        limits.authenticated(token)
    for _ in range(2):  # many peers, and not many connections of one
        limits.authenticated(admitted(limits.begin("", NEVER)))


def test_the_ipv6_addresses_of_one_customer_are_one() -> None:
    limits = StartupLimits(max_per_address=1)
    admitted(limits.begin("2001:db8:0:1::1", NEVER))
    assert refusal(limits.begin("2001:db8:0:1:ffff::2", NEVER)) == "max-startups-per-ip"
    admitted(limits.begin("2001:db8:0:2::1", NEVER))


def test_all_strangers_together_have_only_so_many_places() -> None:
    limits = StartupLimits(max_startups=3, max_per_address=0)
    tokens = [admitted(limits.begin(f"192.0.2.{n}", NEVER)) for n in range(3)]
    assert refusal(limits.begin("192.0.2.9", NEVER)) == "max-startups"
    assert repr(limits) == "<StartupLimits 3 starting, 3 open>"

    limits.authenticated(tokens[0])
    assert repr(limits) == "<StartupLimits 2 starting, 3 open>"
    admitted(limits.begin("192.0.2.9", NEVER))


def test_connections_of_one_address_count_until_they_end() -> None:
    limits = StartupLimits(max_connections_per_ip=1)
    token = admitted(limits.begin("192.0.2.1", NEVER))
    limits.authenticated(token)
    assert refusal(limits.begin("192.0.2.1", NEVER)) == "max-connections-per-ip"
    admitted(limits.begin("192.0.2.2", NEVER))

    limits.end(token)
    admitted(limits.begin("192.0.2.1", NEVER))


def test_giving_back_twice_gives_back_once() -> None:
    limits = StartupLimits(max_startups=2, max_per_address=0)
    first = admitted(limits.begin("192.0.2.1", NEVER))
    admitted(limits.begin("192.0.2.1", NEVER))
    limits.authenticated(first)
    limits.authenticated(first)
    limits.end(first)
    limits.end(first)
    limits.end(12345)
    assert repr(limits) == "<StartupLimits 1 starting, 1 open>"


def test_zero_is_no_limit() -> None:
    limits = StartupLimits(0, 0, 0)
    for _ in range(1000):
        admitted(limits.begin("192.0.2.1", ALWAYS))


@pytest.mark.parametrize(
    ("starting", "probability"),
    [(0, 0.0), (29, 0.0), (30, 0.3), (65, 0.65), (99, 0.99)],
)
def test_strangers_are_turned_away_at_random_as_it_fills(starting: int, probability: float) -> None:
    limits = StartupLimits(max_startups=100, max_per_address=0)
    for _ in range(starting):
        admitted(limits.begin("192.0.2.1", NEVER))

    admission = limits.begin("192.0.2.1", probability + 1e-9)
    limits.end(admitted(admission))
    if probability:
        assert refusal(limits.begin("192.0.2.1", probability - 1e-9)) == "max-startups-early"


def test_a_single_place_can_be_had() -> None:
    limits = StartupLimits(max_startups=1)
    limits.end(admitted(limits.begin("192.0.2.1", ALWAYS)))
    admitted(limits.begin("192.0.2.1", ALWAYS))
    assert refusal(limits.begin("192.0.2.2", NEVER)) == "max-startups"


def test_whom_an_address_stands_for() -> None:
    assert source_of("192.0.2.1") == "192.0.2.1"
    assert source_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert source_of("2001:db8::1") == source_of("2001:db8::2") == "2001:db8::/64"
    with pytest.raises(ValueError):
        source_of("gw.example.com")
