"""The authorized_keys format, line by line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.policy.openssh_material import ALICE, BOB, CA, RSA, SHORT_RSA
from tests.policy.wire_builders import key_of
from wraith.policy.authorized_keys import AuthorizedKeys, parse_authorized_key
from wraith.policy.forwarding import PermitListen, PermitOpen
from wraith.policy.key_options import KeyOptions, parse_expiry_time

BERLIN_WINTER = timezone(timedelta(hours=1))


def parse(text: str) -> AuthorizedKeys:
    return AuthorizedKeys.parse(text, source="keys", timezone=UTC)


def options(text: str) -> KeyOptions:
    return parse_authorized_key(f"{text} {ALICE}", line=1, timezone=UTC).options


def problem(line: str) -> str:
    """What is said about a line that cannot be used."""
    (found,) = parse(line).problems
    return found.text


def test_a_file_with_all_sorts_of_lines() -> None:
    keys = parse(f"# our people\n\n{ALICE}\r\n  \t{BOB}\nrubbish\ncert-authority {CA}\n")

    assert [entry.key for entry in keys.entries] == [key_of(ALICE), key_of(BOB), key_of(CA)]
    assert [entry.line for entry in keys.entries] == [3, 4, 6]
    assert [entry.comment for entry in keys.entries][:2] == ["alice@example", "bob@example"]
    assert [entry.options.cert_authority for entry in keys.entries] == [False, False, True]
    assert [problem.line for problem in keys.problems] == [5]
    assert keys.source == "keys"


def test_an_empty_file() -> None:
    assert parse("") == AuthorizedKeys(source="keys")


def test_a_key_without_options_may_do_everything() -> None:
    assert options("port-forwarding") == KeyOptions()


class TestOptions:
    def test_values_stand_in_quotes_and_may_hold_anything(self) -> None:
        given = options(r'command="echo \"a b\", \\ done",environment="A=b"')
        assert given.others == (("command", r'echo "a b", \\ done'), ("environment", "A=b"))

    def test_names_match_in_either_case(self) -> None:
        assert options("No-Port-Forwarding").forwarding.allowed is False

    def test_options_may_follow_after_a_tab(self) -> None:
        entry = parse_authorized_key(f"restrict \t {ALICE}", line=1, timezone=UTC)
        assert entry.options.forwarding.restricted

    def test_what_changes_nothing_here_is_kept_as_a_fact(self) -> None:
        flags = (
            "no-pty,pty,no-X11-forwarding,X11-forwarding,no-agent-forwarding,agent-forwarding,"
            "no-user-rc,user-rc"
        )
        given = options(f'{flags},tunnel="0"')
        assert [name for name, _ in given.others] == [*flags.lower().split(","), "tunnel"]
        assert given.forwarding == KeyOptions().forwarding

    def test_certificate_authorities(self) -> None:
        assert options("cert-authority").principals is None
        assert options('cert-authority,principals="a,b"').principals == ("a", "b")
        assert options('cert-authority,principals=""').principals == ()

    def test_security_keys(self) -> None:
        assert options("pty").touch_required
        assert not options("no-touch-required").touch_required
        assert options("no-touch-required,touch-required").touch_required
        assert options("verify-required").verify_required

    def test_addresses(self) -> None:
        assert options('from="192.0.2.0/24,!192.0.2.7"').from_addresses == "192.0.2.0/24,!192.0.2.7"

    def test_the_earliest_expiry_counts(self) -> None:
        given = options('expiry-time="20300101Z",expiry-time="20290101Z",expiry-time="20310101Z"')
        assert given.expires == datetime(2029, 1, 1, tzinfo=UTC).timestamp()

    def test_permits_add_up(self) -> None:
        given = options('permitopen="db:1",permitopen="[::1]:*",permitlisten="8080"').forwarding
        assert given.permit_open == (PermitOpen("db", 1), PermitOpen("::1"))
        assert given.permit_listen == (PermitListen("*", 8080),)
        assert given.restricted
        assert given.allowed

    @pytest.mark.parametrize(
        ("text", "allowed", "restricted"),
        [
            ("pty", True, False),
            ("restrict", False, True),
            ("restrict,port-forwarding", True, True),
            ("port-forwarding,restrict", False, True),  # the later one counts
            ("no-port-forwarding", False, True),
            ('permitopen="db:1"', True, True),
            ('restrict,permitopen="db:1"', False, True),
            ('permitlisten="1"', True, False),
        ],
    )
    def test_forwarding(self, text: str, allowed: bool, restricted: bool) -> None:
        forwarding = options(text).forwarding
        assert (forwarding.allowed, forwarding.restricted) == (allowed, restricted)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("no-such-option", "unknown"),
            ('no-such-option="x"', "unknown"),
            ("command", "unknown, or its value is missing"),
            ('restrict="yes"', "unknown"),
            ("no-cert-authority", "unknown"),
            ("from=192.0.2.7", "cannot be understood"),
            ('from="192.0.2.7"x', "cannot be understood"),
            ("restrict,", "cannot be understood"),
            (",restrict", "cannot be understood"),
            ('from="1.2.3.4",from="1.2.3.4"', "from is there twice"),
            ('principals="a",principals="b"', "principals is there twice"),
            ('command="a",command="b"', "command is there twice"),
            ('from=""', "from cannot be used"),
            ('from="192.0.2.7/24"', "from cannot be used"),
            ('permitopen="db"', "permitopen cannot be used"),
            ('permitlisten="x"', "permitlisten cannot be used"),
            ('expiry-time="tomorrow"', "expiry-time cannot be used"),
            ('from="192.0.2.7', "not closed"),
            (r'from="192.0.2.7\"', "not closed"),
            ("restrict, pty", "no key of a known type"),
        ],
    )
    def test_what_cannot_be_understood_is_a_problem(self, text: str, says: str) -> None:
        assert says in problem(f"{text} {ALICE}")


class TestKeys:
    def test_only_current_types_come_in(self) -> None:
        assert parse(RSA).entries
        assert "DSA" in problem("ssh-dss AAAAB3NzaC1kc3M= old")
        assert "DSA" in problem("restrict ssh-dss AAAAB3NzaC1kc3M= old")
        assert "shorter than 2048" in problem(SHORT_RSA)
        assert "known type" in problem("ssh-new AAAAB3NzaC1kc3M= new")

    def test_a_broken_key_is_a_problem(self) -> None:
        assert "not of the algorithm" in problem(ALICE.replace("ssh-ed25519 ", "ssh-rsa "))
        assert "base64" in problem(f"{ALICE.split()[0]} %%%")
        assert "known type" in problem("restrict")

    def test_problems_do_not_repeat_the_line(self) -> None:
        assert "hunter2" not in problem(f'hunter2="hunter2" {ALICE}')


class TestExpiryTime:
    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("20300102Z", datetime(2030, 1, 2, tzinfo=UTC)),
            ("203001021530z", datetime(2030, 1, 2, 15, 30, tzinfo=UTC)),
            ("20300102153045UTC", datetime(2030, 1, 2, 15, 30, 45, tzinfo=UTC)),
            ("203001021530", datetime(2030, 1, 2, 14, 30, tzinfo=UTC)),
        ],
    )
    def test_utc_or_local(self, text: str, moment: datetime) -> None:
        assert parse_expiry_time(text, BERLIN_WINTER) == moment.timestamp()

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "YYYYMMDD"),
            ("2030", "YYYYMMDD"),
            ("2030010215Z", "YYYYMMDD"),
            ("20301301Z", "no such time"),
            ("20300230Z", "no such time"),
            ("203001022530", "no such time"),
            ("19690101Z", "before 1970"),
            ("٢٠٣٠٠١٠٢", "YYYYMMDD"),
        ],
    )
    def test_anything_else_is_no_time(self, text: str, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            parse_expiry_time(text, UTC)
