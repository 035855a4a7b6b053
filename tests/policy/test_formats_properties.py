"""Every parser of the room: what it reads it reads whole, and nothing breaks it."""

from __future__ import annotations

import contextlib
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from tests.policy.openssh_material import ALICE, BOB, CA, HOST, KRL_CA, LIMITED_CERTIFICATE
from tests.policy.wire_builders import certificate_blob, facts, key_of, krl, section, uint64
from wraith.policy.authorized_keys import AuthorizedKeys
from wraith.policy.keys import parse_certificate, parse_public_key_line
from wraith.policy.known_hosts import KnownHosts, host_line
from wraith.policy.revoked_keys import RevokedKeys

CERTIFICATE = key_of(LIMITED_CERTIFICATE).blob
OPTION_TEXT = st.text(
    alphabet=st.characters(exclude_characters='"\\\n', exclude_categories=["Cs"]), max_size=20
)

serials = st.integers(min_value=1, max_value=2000)
ranges = st.tuples(serials, serials).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(st.sampled_from([ALICE, BOB, CA, "rubbish", "# note", "", "restrict"])))
def test_each_line_of_a_file_is_a_key_a_problem_or_nothing(lines: list[str]) -> None:
    keys = AuthorizedKeys.parse("\n".join(lines), source="test", timezone=UTC)
    numbers = [entry.line for entry in keys.entries] + [problem.line for problem in keys.problems]
    silent = [number for number, line in enumerate(lines, 1) if line in {"", "# note"}]
    assert sorted(numbers + silent) == [*range(1, len(lines) + 1)]


@given(OPTION_TEXT)
def test_a_quoted_value_comes_back_as_it_was(value: str) -> None:
    escaped = value.replace(",", '\\"')
    keys = AuthorizedKeys.parse(f'command="{escaped}" {ALICE}', source="test", timezone=UTC)
    assert keys.entries[0].options.others == (("command", value.replace(",", '"')),)


@given(st.text())
def test_no_text_breaks_a_file_of_keys_or_hosts(text: str) -> None:
    for line in (text, f"{text} {ALICE}", f'from="{text}" {ALICE}', f"{ALICE} {text}"):
        AuthorizedKeys.parse(line, source="test", timezone=UTC)
        known = KnownHosts.parse(line, source="test")
        known.lookup(text, 22)


@given(st.text(alphabet="abc.:-%", min_size=1, max_size=20), st.integers(1, 65535))
def test_a_host_that_is_put_on_record_is_known(host: str, port: int) -> None:
    known = KnownHosts.parse(host_line(host, port, key_of(HOST)), source="test")
    assert known.lookup(host, port).keys[0].key == key_of(HOST)


@given(st.integers(0, len(CERTIFICATE) - 1), st.integers(0, 255))
def test_a_damaged_certificate_is_read_or_refused(position: int, value: int) -> None:
    damaged = CERTIFICATE[:position] + bytes([value]) + CERTIFICATE[position + 1 :]
    with contextlib.suppress(ValueError):
        parse_certificate(damaged)


@given(st.integers(0, len(CERTIFICATE) - 1))
def test_a_certificate_cut_short_is_refused(length: int) -> None:
    try:
        parse_certificate(CERTIFICATE[:length])
    except ValueError:
        return
    raise AssertionError("half a certificate was taken for a whole one")


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"))),
)
def test_a_certificate_says_what_was_put_in(serial: int, principals: list[str]) -> None:
    encoded = tuple(principal.encode() for principal in principals)
    blob = certificate_blob(key_of(ALICE), serial=serial, principals=encoded)
    found = parse_certificate(blob)
    assert (found.serial, found.principals) == (serial, tuple(principals))


@given(st.text(), st.binary(max_size=60))
def test_no_key_is_anything_but_read_or_refused(text: str, blob: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_public_key_line(text)
    with contextlib.suppress(ValueError):
        parse_certificate(blob)


@given(st.integers(0, len(KRL_CA) - 1), st.integers(0, 255))
def test_a_damaged_revocation_list_is_read_or_refused(position: int, value: int) -> None:
    damaged = KRL_CA[:position] + bytes([value]) + KRL_CA[position + 1 :]
    with contextlib.suppress(ValueError):
        RevokedKeys.parse(damaged)


@given(st.lists(ranges, max_size=8), st.lists(serials, max_size=8), st.lists(serials, max_size=20))
def test_a_revocation_list_against_a_set(
    given_ranges: list[tuple[int, int]], listed: list[int], asked: list[int]
) -> None:
    sections = [section(0x21, uint64(low), uint64(high)) for low, high in given_ranges]
    sections.append(section(0x20, *map(uint64, listed)))
    revoked = RevokedKeys.parse(krl(section(1, bytes(4), bytes(4), *sections)))
    simple = {*listed}.union(*(range(low, high + 1) for low, high in given_ranges))
    for serial in asked:
        assert revoked.revokes_certificate(facts(serial=serial)) is (serial in simple)
