"""Is a server the one it was: files, lookups and verdicts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.policy.openssh_material import (
    ALICE,
    BOB,
    CA,
    ECDSA_256,
    HASHED_HOST,
    HOST,
    HOST_CERTIFICATE,
    OTHER_CA,
    USER_CERTIFICATE,
)
from tests.policy.wire_builders import facts, facts_of, key_of
from wraith.policy.keys import CertificateFacts
from wraith.policy.known_hosts import (
    HostVerdict,
    Judgement,
    KnownHosts,
    KnownKeys,
    host_line,
    judge,
    judge_certificate,
    known_algorithms,
)

JULY_2020 = 1593561600
JANUARY_2021 = 1609459200


def bare(line: str) -> str:
    """A key without its comment."""
    return " ".join(line.split()[:2])


def parse(*lines: str) -> KnownHosts:
    known = KnownHosts.parse("\n".join(lines), source="known_hosts")
    assert not known.problems
    return known


def knows(hosts: str, host: str, port: int = 22) -> bool:
    return bool(parse(f"{hosts} {HOST}").lookup(host, port).keys)


class TestLookup:
    @pytest.mark.parametrize(
        ("hosts", "host", "port", "found"),
        [
            ("gw.example.com", "gw.example.com", 22, True),
            ("gw.example.com", "GW.Example.com", 22, True),
            ("GW.example.com", "gw.example.com", 22, True),
            ("gw.example.com", "gw.example.com", 443, False),
            ("[gw.example.com]:443", "gw.example.com", 443, True),
            ("[gw.example.com]:443", "gw.example.com", 22, False),
            ("gw,192.0.2.1", "192.0.2.1", 22, True),
            ("*.example.com", "gw.example.com", 22, True),
            ("*.example.com,!gw.*", "gw.example.com", 22, False),
            ("!gw.*", "other", 22, False),
            ("2001:db8::1", "2001:db8::1", 22, True),
            ("[2001:db8::1]:443", "2001:db8::1", 443, True),
            ("*", "gw.example.com", 443, True),
            ("[*.example.com]:443", "gw.example.com", 443, True),
        ],
    )
    def test_names(self, hosts: str, host: str, port: int, found: bool) -> None:
        assert knows(hosts, host, port) is found

    def test_a_hashed_name(self) -> None:
        known = parse(HASHED_HOST)
        assert known.lookup("gw.example.com", 22).keys[0].key == key_of(HOST)
        assert known.lookup("GW.example.com", 22).keys
        assert not known.lookup("gw.example.com", 443).keys
        assert not known.lookup("other.example.com", 22).keys

    def test_it_says_where_it_stands(self) -> None:
        known = parse("# hosts", "", f"gw {HOST}", f"gw\t {ECDSA_256}")
        assert [(found.line, found.source) for found in known.lookup("gw", 22).keys] == [
            (3, "known_hosts"),
            (4, "known_hosts"),
        ]

    def test_markers(self) -> None:
        known = parse(
            f"@cert-authority *.example.com {CA}",
            f"@revoked *\t{ALICE}",
            f"gw.example.com {HOST}",
        )
        found = known.lookup("gw.example.com", 22)
        assert [[entry.key for entry in group] for group in (found.keys, found.authorities)] == [
            [key_of(HOST)],
            [key_of(CA)],
        ]
        assert [entry.key for entry in found.revoked] == [key_of(ALICE)]
        assert known.lookup("other", 22).authorities == ()

    def test_no_host_shows_itself(self) -> None:
        assert "gw.example.com" not in repr(parse(f"gw.example.com {HOST}"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("gw", "ends too early"),
        ("gw ssh-ed25519", "ends too early"),
        ("gw ssh-ed25519 %%%%", "base64"),
        ("gw 2048 35 2342342342", "not in base64|not of the algorithm"),  # of SSH 1
        (f"@strange gw {HOST}", "marker"),
        (f"|2|AAAA|AAAA {HOST}", "hashed host"),
        (f"|1|AAAA {HOST}", "hashed host"),
        (f"|1|AAA|AAAA {HOST}", "hashed host"),
        (f"@revoked |1|%%%%|AAAA {HOST}", "hashed host"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_problem(line: str, says: str) -> None:
    known = KnownHosts.parse(f"{line}\ngw {HOST}\n", source="known_hosts")
    (problem,) = known.problems
    assert problem.line == 1
    assert any(text in problem.text for text in says.split("|"))
    assert known.lookup("gw", 22).keys[0].line == 2


def verdict(*lines: str, offered: str = HOST) -> HostVerdict:
    return judge([parse(*lines).lookup("gw.example.com", 22)], key_of(offered)).verdict


class TestJudge:
    def test_nothing_on_record(self) -> None:
        assert verdict(f"other {HOST}") is HostVerdict.UNKNOWN
        assert judge([], key_of(HOST)) == Judgement(HostVerdict.UNKNOWN)

    def test_the_key_on_record(self) -> None:
        assert verdict(f"gw.example.com {BOB}", f"gw.example.com {HOST}") is HostVerdict.TRUSTED

    def test_another_key_on_record(self) -> None:
        judgement = judge([parse(f"gw {BOB}").lookup("gw", 22)], key_of(HOST))
        assert judgement.verdict is HostVerdict.CHANGED
        assert [(entry.key, entry.line) for entry in judgement.known] == [(key_of(BOB), 1)]

    def test_another_type_of_key_is_a_changed_key_too(self) -> None:
        assert verdict(f"gw.example.com {ECDSA_256}") is HostVerdict.CHANGED

    def test_a_revoked_key(self) -> None:
        lines = (f"gw.example.com {HOST}", f"@revoked * {HOST}")
        assert verdict(*lines) is HostVerdict.REVOKED
        assert verdict(f"@revoked * {BOB}") is HostVerdict.UNKNOWN

    def test_an_authority_is_not_a_host(self) -> None:
        assert verdict(f"@cert-authority * {CA}", offered=CA) is HostVerdict.UNKNOWN

    def test_files_speak_together(self) -> None:
        own, users = parse(f"gw {BOB}").lookup("gw", 22), parse(f"gw {HOST}").lookup("gw", 22)
        revoking = parse(f"@revoked gw {HOST}").lookup("gw", 22)
        assert judge([own, users], key_of(HOST)).verdict is HostVerdict.TRUSTED
        assert judge([own, users, revoking], key_of(HOST)).verdict is HostVerdict.REVOKED


class TestJudgeCertificate:
    def verdict(
        self,
        *lines: str,
        certificate: CertificateFacts | None = None,
        host: str = "gw.example.com",
        now: float = JULY_2020,
    ) -> HostVerdict:
        offered = certificate or facts_of(HOST_CERTIFICATE)
        return judge_certificate(offered, host, [parse(*lines).lookup(host, 22)], now).verdict

    def test_of_an_authority_on_record(self) -> None:
        assert self.verdict(f"@cert-authority *.example.com {CA}") is HostVerdict.TRUSTED

    def test_its_principals_may_have_wildcards(self) -> None:
        authority = f"@cert-authority * {CA}"
        assert self.verdict(authority, host="A.lab.example.com") is HostVerdict.TRUSTED
        assert self.verdict(authority, host="lab.example.com") is HostVerdict.INVALID_CERTIFICATE

    def test_of_somebody_else_it_is_a_plain_key(self) -> None:
        assert self.verdict(f"@cert-authority * {OTHER_CA}") is HostVerdict.UNKNOWN
        assert self.verdict(f"gw.example.com {HOST}") is HostVerdict.TRUSTED
        assert self.verdict(f"gw.example.com {BOB}") is HostVerdict.CHANGED

    @pytest.mark.parametrize(
        "offered",
        [
            facts_of(USER_CERTIFICATE),
            facts(kind="host", principals=("gw.example.com",), valid=(0, JULY_2020)),
            facts(kind="host", principals=("gw.example.com",), valid=(JULY_2020 + 1, 2**64 - 1)),
            facts(kind="host", principals=("other.example.com",)),
            facts(kind="host", principals=()),
            facts(kind="host", principals=("gw.example.com",), critical={"any": b""}),
        ],
    )
    def test_an_invalid_one_is_nothing_to_put_on_record(self, offered: CertificateFacts) -> None:
        authority = f"@cert-authority * {CA}"
        verdict = self.verdict(authority, certificate=offered)
        assert verdict is HostVerdict.INVALID_CERTIFICATE
        # But its key may be on record already, or another may.
        known = f"gw.example.com {offered.key.line()}"
        assert self.verdict(authority, known, certificate=offered) is HostVerdict.TRUSTED
        other = f"gw.example.com {BOB}"
        assert self.verdict(authority, other, certificate=offered) is HostVerdict.CHANGED

    def test_a_good_one_does_not_mind_other_keys_on_record(self) -> None:
        lines = (f"@cert-authority * {CA}", f"gw.example.com {BOB}")
        assert self.verdict(*lines) is HostVerdict.TRUSTED

    def test_a_revoked_authority_or_key(self) -> None:
        authority = f"@cert-authority * {CA}"
        assert self.verdict(authority, f"@revoked * {CA}") is HostVerdict.REVOKED
        assert self.verdict(authority, f"@revoked * {HOST}") is HostVerdict.REVOKED


class TestWriting:
    def test_a_line_is_found_again(self) -> None:
        for host, port in [("gw.example.com", 22), ("GW", 443), ("2001:db8::1", 443), ("::1", 22)]:
            line = host_line(host, port, key_of(HOST))
            assert parse(line).lookup(host, port).keys[0].key == key_of(HOST)
        assert host_line("gw", 443, key_of(HOST)) == f"[gw]:443 {bare(HOST)}"
        assert host_line("gw", 22, key_of(HOST)) == f"gw {bare(HOST)}"

    @pytest.mark.parametrize(
        "host", ["", "*", "a,b", "!a", "@revoked", "|1|a|b", "a b", "a\nb", "#"]
    )
    def test_a_host_that_is_more_than_a_name_is_refused(self, host: str) -> None:
        with pytest.raises(ValueError):
            host_line(host, 22, key_of(HOST))


def test_which_types_to_ask_for() -> None:
    lookups = [parse(f"gw {ECDSA_256}", f"gw {HOST}", f"gw {BOB}").lookup("gw", 22), KnownKeys()]
    assert known_algorithms(lookups) == ("ecdsa-sha2-nistp256", "ssh-ed25519")
    assert known_algorithms([]) == ()


def test_ssh_keygen_agrees_about_a_hash_made_now(tmp_path: Path) -> None:
    ssh_keygen = shutil.which("ssh-keygen")
    if ssh_keygen is None:
        pytest.skip("ssh-keygen is not installed")
    path = tmp_path / "known_hosts"
    path.write_text(f"gw,192.0.2.1 {HOST}\n[gw]:443 {BOB}\n")
    subprocess.run([ssh_keygen, "-H", "-f", str(path)], check=True, capture_output=True)
    hashed = path.read_text()
    assert "gw" not in hashed
    known = parse(*hashed.splitlines())
    assert [entry.key for entry in known.lookup("gw", 443).keys] == [key_of(BOB)]
    assert [entry.key for entry in known.lookup("192.0.2.1", 22).keys] == [key_of(HOST)]
    found = subprocess.run(
        [ssh_keygen, "-F", "[gw]:443", "-f", str(path)], check=True, capture_output=True, text=True
    )
    assert bare(BOB) in found.stdout
