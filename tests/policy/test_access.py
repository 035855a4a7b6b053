"""Where a peer may go: tables of rules, and of tricks to get round them."""

from __future__ import annotations

import pytest

from wraith.errors import UsageError
from wraith.policy.access import AccessRules, Peer, Rule, Verdict
from wraith.policy.access_patterns import normalised_name, normalised_path
from wraith.policy.address_groups import literal_address
from wraith.values.address import TcpDestination, UnixDestination

ANYBODY = Peer()
KEY = "SHA256:40CjAWCz0EbTH/1KSjcENDMNAZU2oDFd89p4MYVY/D8"
PUBLIC = "93.184.216.34"


def rules(*lines: str) -> AccessRules:
    return AccessRules.parse(lines)


def allows(
    *lines: str, host: str, address: str | None = None, port: int = 80, who: Peer = ANYBODY
) -> bool:
    """Whether the rules allow `host`, which resolved to `address`; without one it is its own."""
    return rules(*lines).decide(host, address or host, port, who)


def by_name(*lines: str, host: str, port: int = 80) -> Verdict:
    return rules(*lines).decide_name(TcpDestination(host, port), ANYBODY)


class TestWithoutRules:
    @pytest.mark.parametrize("address", [PUBLIC, "10.0.0.1", "127.0.0.1", "::1", "2606:4700::1"])
    def test_most_is_allowed(self, address: str) -> None:
        assert allows(host="name.example", address=address)

    @pytest.mark.parametrize(
        "address",
        [
            "169.254.1.1",
            "fe80::1",
            "fe80::1%eth0",
            "169.254.169.254",
            "fd00:ec2::254",
            "168.63.129.16",
            "100.100.100.200",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "64:ff9b::169.254.169.254",
        ],
    )
    def test_link_local_and_metadata_are_not(self, address: str) -> None:
        assert not allows(host="name.example", address=address)
        assert by_name(host=address) is Verdict.DENY

    def test_nor_is_the_name_of_a_metadata_service(self) -> None:
        assert not allows(host="metadata.google.internal", address=PUBLIC)
        assert not allows(host="Metadata.Google.Internal.", address=PUBLIC)
        assert by_name(host="metadata.google.internal") is Verdict.DENY

    def test_nor_is_any_unix_path(self) -> None:
        assert not rules().decide_unix("/run/web.sock", ANYBODY)
        assert rules().decide_name(UnixDestination("/run/web.sock"), ANYBODY) is Verdict.DENY

    def test_reserved_names_are(self) -> None:
        assert by_name(host="wraith-control", port=0) is Verdict.ALLOW

    def test_rules_are_told_apart_by_their_number_only(self) -> None:
        assert repr(rules("deny db.internal", "allow *")) == "<AccessRules 2 rules>"
        assert "db" not in repr(rules("deny db.internal").rules)


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "host", "port", "matches"),
        [
            ("db.internal", "db.internal", 1, True),
            ("db.internal:5432", "db.internal", 5432, True),
            ("db.internal:5432", "db.internal", 5433, False),
            ("db.internal:*", "db.internal", 5433, True),
            ("DB.Internal.", "db.internal", 1, True),
            ("db.internal", "DB.INTERNAL.", 1, True),
            ("*.internal", "db.internal", 1, True),
            ("*.internal", "internal", 1, False),
            ("db?.internal", "db1.internal", 1, True),
            ("web:80,443,8000-8100", "web", 80, True),
            ("web:80,443,8000-8100", "web", 443, True),
            ("web:80,443,8000-8100", "web", 8000, True),
            ("web:80,443,8000-8100", "web", 8100, True),
            ("web:80,443,8000-8100", "web", 8101, False),
            ("web:80,443,8000-8100", "web", 81, False),
            ("*", "anything", 1, True),
            ("*:22", "anything", 22, True),
            ("*:22", "anything", 23, False),
            ("bücher.example", "xn--bcher-kva.example", 1, True),
            ("xn--bcher-kva.example", "BÜCHER.example", 1, True),
            ("example.com", "ｅxample。com", 1, True),  # as IDNA reads it
        ],
    )
    def test_names(self, pattern: str, host: str, port: int, matches: bool) -> None:
        assert allows(f"deny {pattern}", host=host, address=PUBLIC, port=port) is not matches

    @pytest.mark.parametrize(
        ("pattern", "address", "port", "matches"),
        [
            ("10.0.0.0/8", "10.1.2.3", 1, True),
            ("10.0.0.0/8", "11.1.2.3", 1, False),
            ("10.0.0.0/8:22", "10.1.2.3", 22, True),
            ("10.0.0.0/8:22", "10.1.2.3", 23, False),
            ("10.1.2.3", "10.1.2.3", 1, True),
            ("10.1.2.3:22", "10.1.2.3", 23, False),
            ("10.1.*", "10.1.2.3", 1, True),
            ("10.1.?.3:22", "10.1.2.3", 22, True),
            ("10.2.*", "10.1.2.3", 1, False),
            ("10.0.0.0/8", "::ffff:10.1.2.3", 1, True),
            ("10.1.*", "::ffff:10.1.2.3", 1, True),
            ("10.0.0.0/8", "64:ff9b::10.1.2.3", 1, True),
            ("64:ff9b::/96", "64:ff9b::10.1.2.3", 1, True),
            ("::ffff:10.0.0.0/104", "10.1.2.3", 1, True),
            ("[::ffff:10.1.2.3]:22", "10.1.2.3", 22, True),
            ("fd00::/8", "fd12::1", 1, True),
            ("[fd00::/8]:443", "fd12::1", 443, True),
            ("[fd00::/8]:443", "fd12::1", 444, False),
            ("[fd12::1]", "fd12::1", 1, True),
            ("[fd12::1]:443", "fd12::1", 443, True),
            ("fd00:ec2::254", "fd00:ec2::254", 1, True),
            ("::1", "::1", 1, True),
            ("::/0", "10.1.2.3", 1, False),
            ("0.0.0.0/0", "2606:4700::1", 1, False),
        ],
    )
    def test_addresses(self, pattern: str, address: str, port: int, matches: bool) -> None:
        allowed = allows(f"deny {pattern}", host="name.example", address=address, port=port)
        assert allowed is not matches

    @pytest.mark.parametrize(
        ("group", "inside", "outside"),
        [
            ("private", ["10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd00::1"], PUBLIC),
            ("loopback", ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::"], "10.0.0.1"),
            ("link-local", ["169.254.7.7", "fe80::7"], "10.0.0.1"),
            ("metadata", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200"], "10.0.0.1"),
            ("reserved", ["0.1.2.3", "192.0.2.1", "240.0.0.1", "224.0.0.1", "ff02::1"], PUBLIC),
        ],
    )
    def test_groups(self, group: str, inside: list[str], outside: str) -> None:
        for address in inside:
            assert not allows(f"deny {group}", host="name.example", address=address)
            assert allows(f"allow {group}", "deny *", host="name.example", address=address)
            assert not allows(f"allow {group.upper()}:22", "deny *", host=address)
            assert allows(f"allow {group}:22", "deny *", host=address, port=22)
        assert allows(f"deny {group}", host="name.example", address=outside)

    def test_some_names_belong_to_a_group(self) -> None:
        assert not allows("deny loopback", host="localhost", address=PUBLIC)
        assert allows("deny private", host="localhost", address=PUBLIC)

    def test_a_name_pattern_is_not_held_against_the_text_of_addresses(self) -> None:
        assert not allows("allow fd*", "deny *", host="name.example", address="fd00::1")

    @pytest.mark.parametrize(
        ("pattern", "path", "matches"),
        [
            ("/run/web.sock", "/run/web.sock", True),
            ("/run/web.sock", "/run/Web.sock", False),
            ("/run/*.sock", "/run/web.sock", True),
            ("/run/*.sock", "/run/a/web.sock", True),
            ("/run/*.sock", "/var/web.sock", False),
            ("/run/web.sock", "//run/./web.sock", True),
            ("/*", "/anything", True),
            ("*", "/anything", True),
            ("*:22", "/anything", False),
            ("private", "/anything", False),
            ("/run/*", "/run/../etc/secret.sock", False),
            ("*", "/run/../etc/secret.sock", False),
            ("*", "relative.sock", False),
            ("*", "\0abstract", False),
            ("*", "/run/web.sock\0", False),
        ],
    )
    def test_unix_paths(self, pattern: str, path: str, matches: bool) -> None:
        assert rules(f"allow {pattern}").decide_unix(path, ANYBODY) is matches
        verdict = rules(f"allow {pattern}").decide_name(UnixDestination(path), ANYBODY)
        assert verdict is (Verdict.ALLOW if matches else Verdict.DENY)

    @pytest.mark.parametrize(
        ("pattern", "host", "matches"),
        [
            ("wraith-*", "wraith-control", True),
            ("wraith-control", "wraith-control", True),
            ("wraith-control:0", "WRAITH-control", True),  # whatever the port
            ("wraith-control", "wraith-udp", False),
            ("*", "wraith-control", True),
            ("*:80", "wraith-control", False),
            ("*-control", "wraith-control", False),
            ("reserved", "wraith-control", False),
            ("wraith-*", "other", False),
        ],
    )
    def test_reserved_names(self, pattern: str, host: str, matches: bool) -> None:
        verdict = by_name(f"allow {pattern}", "deny *", host=host)
        assert verdict is (Verdict.ALLOW if matches else Verdict.DENY)


class TestOrder:
    def test_the_first_match_wins(self) -> None:
        assert allows("allow db.internal", "deny private", host="db.internal", address="10.0.0.1")
        assert not allows(
            "deny private", "allow db.internal", host="db.internal", address="10.0.0.1"
        )
        assert allows("allow 10.0.0.1", "deny private", host="db.internal", address="10.0.0.1")
        assert not allows("deny *", "allow *", host="db.internal", address="10.0.0.1")

    def test_rules_come_before_the_defaults(self) -> None:
        assert allows("allow 169.254.169.254:80", host="169.254.169.254")
        assert allows("allow *", host="169.254.169.254")
        assert rules("allow /run/*").decide_unix("/run/web.sock", ANYBODY)

    def test_a_last_deny_turns_it_round(self) -> None:
        turned = ("allow db.internal:5432", "deny *")
        assert allows(*turned, host="db.internal", address="10.0.0.1", port=5432)
        assert not allows(*turned, host="db.internal", address="10.0.0.1", port=22)
        assert not allows(*turned, host=PUBLIC)
        assert by_name(*turned, host="wraith-control") is Verdict.DENY


class TestWhoAsks:
    def test_principals(self) -> None:
        lines = ("allow *.internal principal=ops,deploy", "deny *")
        for principals, allowed in [(("ops",), True), (("a", "deploy"), True), (("dev",), False)]:
            who = Peer(principals=principals)
            assert allows(*lines, host="db.internal", address="10.0.0.1", who=who) is allowed
        assert not allows(*lines, host="db.internal", address="10.0.0.1")

    def test_keys(self) -> None:
        lines = (f"deny private key=SHA256:other,{KEY}",)
        assert not allows(*lines, host="10.0.0.1", who=Peer(fingerprint=KEY))
        assert allows(*lines, host="10.0.0.1", who=Peer(fingerprint="SHA256:third"))

    def test_both_must_hold(self) -> None:
        lines = (f"allow * key={KEY} principal=ops", "deny *")
        assert allows(*lines, host=PUBLIC, who=Peer(("ops",), KEY))
        assert not allows(*lines, host=PUBLIC, who=Peer(("ops",), "SHA256:other"))
        assert not allows(*lines, host=PUBLIC, who=Peer(("dev",), KEY))


class TestBeforeResolution:
    @pytest.mark.parametrize(
        ("lines", "verdict"),
        [
            ((), Verdict.UNDECIDED),  # it may be link-local
            (("allow *",), Verdict.ALLOW),
            (("deny *",), Verdict.DENY),
            (("deny db.internal",), Verdict.DENY),
            (("deny db.internal:22",), Verdict.UNDECIDED),
            (("allow other", "deny *"), Verdict.DENY),
            (("deny private", "deny db.internal"), Verdict.DENY),  # either way
            (("allow private", "deny db.internal"), Verdict.UNDECIDED),
            (("allow private:22", "deny db.internal"), Verdict.DENY),  # not on this port
            (("allow 10.0.*", "deny *"), Verdict.UNDECIDED),
            (("allow 10.0.* principal=ops", "deny *"), Verdict.DENY),  # not for this peer
            (("deny private", "allow *"), Verdict.UNDECIDED),
        ],
    )
    def test_only_what_is_certain_is_said(self, lines: tuple[str, ...], verdict: Verdict) -> None:
        assert by_name(*lines, host="db.internal") is verdict

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "127.1", "0x7f000001", "0X7F.1", "2130706433", "017700000001", "0177.0.0.1."],
    )
    def test_literal_addresses_are_known_however_they_are_written(self, host: str) -> None:
        assert by_name("deny loopback", host=host) is Verdict.DENY
        assert by_name("deny private", host=host) is Verdict.ALLOW
        assert not rules("deny loopback").decide_unresolved(TcpDestination(host, 80), ANYBODY)

    def test_where_a_proxy_resolves_names_are_all_there_is(self) -> None:
        given = rules("deny private", "deny *.internal")
        for host, allowed in [
            ("name.example", True),
            ("db.internal", False),
            ("10.0.0.1", False),
            ("::ffff:10.0.0.1", False),
            ("169.254.169.254", False),
            ("metadata.google.internal", False),
        ]:
            assert given.decide_unresolved(TcpDestination(host, 80), ANYBODY) is allowed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::1", "::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::1"),
        ("1", "0.0.0.1"),
        ("1.2", "1.0.0.2"),
        ("1.2.3", "1.2.0.3"),
        ("1.2.515", "1.2.2.3"),
        ("0x1.0x2.0x3.0x4", "1.2.3.4"),
        ("010.0.0.1", "8.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("4294967295", "255.255.255.255"),
        ("4294967296", None),
        ("256.1", None),
        ("1.2.3.256", None),
        ("1.2.3.4.5", None),
        ("08.1", None),
        ("1..2", None),
        ("", None),
        ("db.internal", None),
        ("١.2.3.4", None),
    ],
)
def test_what_resolvers_take_for_an_address(text: str, address: str | None) -> None:
    found = literal_address(text)
    assert (None if found is None else str(found)) == address


def test_names_and_paths_are_normalised() -> None:
    assert normalised_name("DB.Internal.") == "db.internal"
    assert normalised_name("a" * 64 + "ü") == "a" * 64 + "ü"  # no name in the DNS
    assert normalised_path("//run///a/./b/") == "/run/a/b"
    assert normalised_path("/") == "/"
    assert normalised_path("run") is None


class TestRulesThatCannotBeUsed:
    @pytest.mark.parametrize(
        ("rule", "says"),
        [
            ("", "does not begin"),
            ("allow", "does not begin"),
            ("permit *", "does not begin"),
            ("Allow *", "does not begin"),
            ("allow * please", "principal= and key="),
            ("allow * principal=", "principal= and key="),
            ("allow * principal=a,,b", "principal= and key="),
            ("allow * principal=a principal=b", "at most once"),
            ("allow * key=MD5:00", "SHA256"),
            ("allow :80", "host is missing"),
            ("allow db:", "ports are not"),
            ("allow db:http", "ports are not"),
            ("allow db:80,", "ports are not"),
            ("allow db:80-", "ports are not"),
            ("allow db:٨٠", "ports are not"),
            ("allow db:0", "a port is not"),
            ("allow db:65536", "a port is not"),
            ("allow db:90-80", "a port is not"),
            ("allow ::1:80", "could be an address or"),
            ("allow [::1", "bracketed"),
            ("allow [::1]80", "bracketed"),
            ("allow [db]:80x", "ports are not"),
            ("allow 10.0.0.1/8", "host bits"),
            ("allow 10.0.0.0/33", "does not appear"),
            ("allow 10.0.0.0/255.0.0.0", "prefix length"),
            ("allow fd00::/8:443", "prefix length"),
            ("allow 127.1", "not written in full"),
            ("allow 443", "not written in full"),
            ("allow 0x7f.1:80", "not written in full"),
            ("allow db_[1]", "character"),
            ("allow user@db", "character"),
            ("allow a:b:c", "does not appear"),
            ("allow /run//web.sock", "shortest form"),
            ("allow /run/../web.sock", "shortest form"),
        ],
    )
    def test_they_say_why_and_what_would_do(self, rule: str, says: str) -> None:
        with pytest.raises(UsageError) as caught:
            AccessRules.parse(["allow *", rule])
        assert says in caught.value.message
        assert repr(rule) in caught.value.message
        assert "allow|deny PATTERN" in caught.value.message

    def test_white_space_is_generous(self) -> None:
        assert Rule.parse("  deny \t private\tkey=SHA256:x ") == Rule.parse(
            "deny private key=SHA256:x"
        )
