"""OpenSSH's patterns and address lists, in tables."""

from __future__ import annotations

import pytest

from wraith.policy.openssh_patterns import (
    match_address_list,
    match_cidr_list,
    match_pattern,
    match_pattern_list,
    parse_address,
    parse_network,
)


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("", "", True),
        ("", "*", True),
        ("", "**", True),
        ("", "?", False),
        ("a", "", False),
        ("gw.example.com", "*.example.com", True),
        ("example.com", "*.example.com", False),
        ("192.168.0.7", "192.168.0.?", True),
        ("192.168.0.77", "192.168.0.?", False),
        ("abcabd", "*abd", True),  # the star gives back
        ("aXbXc", "a*b*c", True),
        ("aXbX", "a*b*c", False),
        ("Gw", "gw", False),
        ("a.c", "a.c", True),
        ("abc", "a.c", False),  # a dot is a dot
        ("a[b]", "a[b]", True),  # and brackets are brackets
    ],
)
def test_one_pattern(text: str, pattern: str, matches: bool) -> None:
    assert match_pattern(text, pattern) is matches


def test_a_pattern_full_of_stars_is_no_weapon() -> None:
    # Backtracking over each star would take 2**60 steps.
    assert not match_pattern("a" * 2000, "*a" * 60 + "b")


@pytest.mark.parametrize(
    ("text", "patterns", "result"),
    [
        ("gw.example.com", "*.example.com", True),
        ("gw.example.com", "other,*.example.com", True),
        ("gw.example.com", "other", None),
        ("bad.example.com", "*.example.com,!bad.*", False),
        ("bad.example.com", "!bad.*,*.example.com", False),
        ("good.example.com", "!bad.*,*.example.com", True),
        ("good.example.com", "!bad.*", None),  # ssh_config(5): negation alone never matches
        ("gw", "", None),
    ],
)
def test_a_list_of_patterns(text: str, patterns: str, result: bool | None) -> None:
    assert match_pattern_list(text, patterns) is result


def test_case_counts_unless_it_is_a_host() -> None:
    assert match_pattern_list("GW", "gw") is None
    assert match_pattern_list("GW", "gw", ignore_case=True) is True
    assert match_pattern_list("gw", "!GW", ignore_case=True) is False


@pytest.mark.parametrize(
    ("address", "patterns", "result"),
    [
        ("192.0.2.7", "192.0.2.0/24", True),
        ("192.0.3.7", "192.0.2.0/24", None),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.*", True),
        ("192.0.2.7", "192.0.2.0/24,!192.0.2.7", False),
        ("192.0.2.7", "!192.0.2.7,*", False),
        ("192.0.2.7", "!192.0.2.7", False),
        ("192.0.2.8", "!192.0.2.7", None),
        ("192.0.2.7", "gw.example.com", None),  # nobody looks names up
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db8::1", "2001:DB8:0::1", True),
        ("2001:db8::1", "2001:DB8:*", True),
        ("2001:db8::1", "192.0.2.0/24", None),
        ("::ffff:192.0.2.7", "192.0.2.0/24", True),
        ("192.0.2.7", "::ffff:192.0.2.0/120", True),
        ("fe80::1%eth0", "fe80::/10", True),
    ],
)
def test_a_list_of_addresses(address: str, patterns: str, result: bool | None) -> None:
    assert match_address_list(address, patterns) is result


@pytest.mark.parametrize(
    "patterns",
    ["", "192.0.2.7,", "!", "192.0.2.7/24", "192.0.2.0/33", "192.0.2.0/", "10.0.0.0/255.0.0.0"],
)
def test_a_list_that_cannot_be_read_lets_nobody_pass(patterns: str) -> None:
    with pytest.raises(ValueError):
        match_address_list("192.0.2.7", patterns)
    with pytest.raises(ValueError):
        match_address_list("192.0.2.7", f"192.0.2.7,{patterns}")


def test_a_source_address_list_has_networks_only() -> None:
    assert match_cidr_list("192.0.2.7", "198.51.100.1,192.0.2.0/24")
    assert not match_cidr_list("192.0.2.7", "198.51.100.1")
    for patterns in ("192.0.2.*", "!192.0.2.7", "192.0.2.7,", "192.0.2.7,localhost"):
        with pytest.raises(ValueError):
            match_cidr_list("192.0.2.7", patterns)


def test_what_is_no_address_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        match_address_list("gw.example.com", "*")


def test_mapped_addresses_are_ipv4() -> None:
    assert str(parse_address("::ffff:10.0.0.1")) == "10.0.0.1"
    assert str(parse_address("::1")) == "::1"
    assert str(parse_network("::ffff:10.0.0.0/104")) == "10.0.0.0/8"
    assert str(parse_network("::ffff:0:0/96")) == "0.0.0.0/0"
    assert str(parse_network("::/0")) == "::/0"
    assert str(parse_network("2001:db8::1")) == "2001:db8::1/128"
