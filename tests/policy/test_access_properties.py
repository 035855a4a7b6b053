"""The rules against their simple twin, on random input."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from tests.policy.naive_access import NaiveAccessRules, NaiveRule
from wraith.errors import UsageError
from wraith.policy.access import AccessRules, Peer, Verdict
from wraith.values.address import TcpDestination, UnixDestination

names = st.sampled_from(
    ["db.internal", "DB.internal.", "web.internal", "a.b.internal", "internal", "localhost", "db"]
)
addresses = st.one_of(
    st.sampled_from(
        [
            "10.0.0.1",
            "10.1.2.3",
            "11.0.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "169.254.1.1",
            "100.100.100.200",
            "192.168.1.1",
            "8.8.8.8",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "fe80::1",
            "fd00:ec2::254",
            "fd12::1",
            "2606:4700::1",
        ]
    ),
    st.ip_addresses().map(str),
)
ports = st.sampled_from([1, 22, 80, 443, 8000, 8050, 8100, 65535])
patterns = st.sampled_from(
    [
        "*",
        "db.internal",
        "*.internal",
        "d?.internal",
        "db",
        "10.0.*",
        "1?.*",
        "10.0.0.1",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "8.0.0.0/6",
        "::/0",
        "::1",
        "fd00::/8",
        "64:ff9b::/96",
        "private",
        "loopback",
        "link-local",
        "metadata",
    ]
)
port_lists = st.sampled_from(["", "", "80", "22,80", "8000-8100", "1-1024,8050"])
principals = st.lists(st.sampled_from(["ops", "dev", "web"]), max_size=2, unique=True)
keys = st.lists(st.sampled_from(["SHA256:a", "SHA256:b"]), max_size=2, unique=True)
rules = st.builds(
    NaiveRule,
    action=st.sampled_from(["allow", "deny"]),
    host=patterns,
    ports=port_lists,
    principals=st.one_of(st.just([]), principals),
    keys=st.one_of(st.just([]), keys),
)
peers = st.builds(
    Peer, principals=principals.map(tuple), fingerprint=st.sampled_from(["SHA256:a", "SHA256:c"])
)


@given(st.lists(rules, max_size=6), st.one_of(names, addresses), addresses, ports, peers)
def test_they_agree(
    given_rules: list[NaiveRule], host: str, address: str, port: int, who: Peer
) -> None:
    clever = AccessRules.parse(rule.text() for rule in given_rules)
    simple = NaiveAccessRules(given_rules)
    assert clever.decide(host, address, port, who) == simple.decide(host, address, port, who)


@given(st.lists(rules, max_size=6), names, addresses, ports, peers)
def test_what_is_certain_before_resolution_stays_so(
    given_rules: list[NaiveRule], host: str, address: str, port: int, who: Peer
) -> None:
    clever = AccessRules.parse(rule.text() for rule in given_rules)
    verdict = clever.decide_name(TcpDestination(host, port), who)
    allowed = clever.decide(host, address, port, who)
    assert verdict in {Verdict.UNDECIDED, Verdict.ALLOW if allowed else Verdict.DENY}


@given(st.lists(rules, max_size=6), addresses, ports, peers)
def test_a_literal_address_is_certain_at_once(
    given_rules: list[NaiveRule], address: str, port: int, who: Peer
) -> None:
    clever = AccessRules.parse(rule.text() for rule in given_rules)
    allowed = clever.decide(address, address, port, who)
    destination = TcpDestination(address, port)
    assert clever.decide_name(destination, who) is (Verdict.ALLOW if allowed else Verdict.DENY)
    assert clever.decide_unresolved(destination, who) is allowed


@given(st.lists(rules, max_size=4), st.text(max_size=20), st.text(max_size=20), peers)
def test_any_name_and_any_path_get_an_answer(
    given_rules: list[NaiveRule], host: str, path: str, who: Peer
) -> None:
    clever = AccessRules.parse(rule.text() for rule in given_rules)
    clever.decide_unresolved(TcpDestination(host, 80), who)
    assert clever.decide_name(TcpDestination(host, 80), who) in Verdict
    verdict = clever.decide_name(UnixDestination(path), who)
    assert verdict is (Verdict.ALLOW if clever.decide_unix(path, who) else Verdict.DENY)


@given(st.text(alphabet="alowdeny *:/.-[]0123456789=,principalkey", max_size=40))
def test_any_text_is_a_rule_or_a_usage_error(text: str) -> None:
    for line in (text, f"allow {text}"):
        with contextlib.suppress(UsageError):
            assert repr(AccessRules.parse([line])) == "<AccessRules 1 rules>"
