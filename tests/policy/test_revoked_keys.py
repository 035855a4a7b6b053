"""Revocation: lists that ssh-keygen made, and lists that nobody should make."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.policy.openssh_material import (
    ALICE,
    BOB,
    CA,
    ECDSA_256,
    KRL_ANY,
    KRL_BITMAP,
    KRL_CA,
    KRL_CERT,
    KRL_KEYS,
    OTHER_CA,
    OTHER_CERTIFICATE,
    RSA,
    RSA_CERTIFICATE,
    USER_CERTIFICATE,
)
from tests.policy.wire_builders import (
    facts,
    facts_of,
    key_of,
    krl,
    section,
    string,
    uint64,
)
from wraith.policy.krl import CertificateSection, Section, SerialRanges, parse_krl
from wraith.policy.revoked_keys import RevokedKeys


def serials_revoked(revoked: RevokedKeys, *, of: str = CA, up_to: int = 6000) -> set[int]:
    signing_key = key_of(of)
    return {
        serial
        for serial in range(up_to)
        if revoked.revokes_certificate(facts(signing_key=signing_key, serial=serial))
    }


def certificates(*sections: bytes, of: bytes = b"") -> bytes:
    return krl(section(Section.CERTIFICATES, string(of), string(""), *sections))


class TestKrlsOfOpenSsh:
    def test_keys_by_blob_and_by_digest(self) -> None:
        revoked = RevokedKeys.parse(KRL_KEYS)

        assert revoked.revokes_key(key_of(ALICE))
        assert revoked.revokes_key(key_of(BOB))
        assert revoked.revokes_key(key_of(RSA))
        assert not revoked.revokes_key(key_of(ECDSA_256))
        assert repr(revoked) == "<RevokedKeys 3 keys, certificates of 0 authorities>"

    def test_a_certificate_falls_with_its_key(self) -> None:
        revoked = RevokedKeys.parse(KRL_KEYS)
        assert revoked.revokes_certificate(facts_of(USER_CERTIFICATE))
        assert revoked.revokes_certificate(facts_of(RSA_CERTIFICATE))

    def test_serials_and_key_ids_of_one_authority(self) -> None:
        revoked = RevokedKeys.parse(KRL_CA)

        assert serials_revoked(revoked) == {1, 2, 3, 10, 12, 14, *range(1000, 5001)}
        assert serials_revoked(revoked, of=OTHER_CA) == set()
        assert revoked.revokes_certificate(facts(serial=0, key_id="bad-laptop"))
        assert not revoked.revokes_certificate(
            facts(serial=0, key_id="bad-laptop", signing_key=key_of(OTHER_CA))
        )

    def test_a_bitmap(self) -> None:
        revoked = RevokedKeys.parse(KRL_BITMAP)
        assert serials_revoked(revoked, up_to=400) == {100, *range(102, 301, 2)}

    def test_serials_of_any_authority(self) -> None:
        revoked = RevokedKeys.parse(KRL_ANY)
        assert revoked.revokes_certificate(facts_of(USER_CERTIFICATE))
        assert revoked.revokes_certificate(facts_of(OTHER_CERTIFICATE))
        assert not revoked.revokes_certificate(facts_of(RSA_CERTIFICATE))

    def test_one_certificate_leaves_its_key_alone(self) -> None:
        revoked = RevokedKeys.parse(KRL_CERT)
        assert revoked.revokes_certificate(facts_of(USER_CERTIFICATE))
        assert not revoked.revokes_certificate(facts_of(OTHER_CERTIFICATE))
        assert not revoked.revokes_key(key_of(ALICE))


class TestKrls:
    def test_an_empty_one_revokes_nothing(self) -> None:
        assert RevokedKeys.parse(krl()) == RevokedKeys()

    def test_serial_zero_is_nobody(self) -> None:
        whole = section(CertificateSection.SERIAL_RANGE, uint64(0), uint64(2**64 - 1))
        revoked = RevokedKeys.parse(certificates(whole))
        assert revoked.revokes_certificate(facts(serial=2**64 - 1))
        assert not revoked.revokes_certificate(facts(serial=0))

    def test_an_authority_that_is_revoked_takes_its_certificates_along(self) -> None:
        digest = hashlib.sha256(key_of(CA).blob).digest()
        revoked = RevokedKeys.parse(krl(section(Section.FINGERPRINT_SHA256, string(digest))))
        assert revoked.revokes_certificate(facts_of(USER_CERTIFICATE))
        assert not revoked.revokes_certificate(facts_of(OTHER_CERTIFICATE))

    def test_a_key_id_that_is_no_text_hides_none_of_the_others(self) -> None:
        ids = section(CertificateSection.KEY_ID, string(b"\xff"), string("bad-laptop"))
        assert RevokedKeys.parse(certificates(ids)).revokes_certificate(facts(key_id="bad-laptop"))

    def test_extensions_that_are_not_critical_are_skipped(self) -> None:
        extension = string("new@example.com") + b"\0" + string("whatever")
        parse_krl(krl(section(Section.EXTENSION, extension)))
        parse_krl(certificates(section(CertificateSection.EXTENSION, extension)))

    def test_signatures_come_last(self) -> None:
        signature = bytes([Section.SIGNATURE]) + string("a key") + string("a signature")
        parse_krl(krl(signature, signature))
        with pytest.raises(ValueError, match="behind the signature"):
            parse_krl(krl(signature, section(Section.EXPLICIT_KEY)))

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"", "too early"),
            (b"ssh-ed25519 ", "no key revocation list"),
            (krl(version=2), "known version"),
            (krl()[:-1], "too early"),
            (krl(b"\x02"), "too early"),
            (krl(section(6)), "unknown type 6"),
            (krl(section(Section.FINGERPRINT_SHA1, string(bytes(32)))), "wrong length"),
            (krl(section(Section.FINGERPRINT_SHA256, string(bytes(20)))), "wrong length"),
            (krl(section(Section.EXPLICIT_KEY, b"\0\0\0\1")), "too early"),
            (krl(section(Section.EXTENSION, string("n"), b"\1", string(""))), "critical"),
            (krl(section(Section.EXTENSION, string("n"), b"\0", string(""), b"x")), "left over"),
            (certificates(section(0x24)), "unknown type 36"),
            (certificates(section(0x20, b"1234")), "too early"),
            (certificates(section(0x21, uint64(2), uint64(1))), "ends before"),
            (certificates(section(0x21, uint64(1), uint64(2), b"x")), "left over"),
            (certificates(section(0x22, uint64(1), string(b"\x80"))), "negative"),
            (certificates(section(0x22, uint64(2**64 - 1), string(b"\x02"))), "too long"),
            (certificates(section(0x22, uint64(1), string(b"\x01" + bytes(2048)))), "too long"),
            (certificates(section(0x39, string("n"), b"\1", string(""))), "critical"),
        ],
    )
    def test_what_is_malformed_is_refused_whole(self, data: bytes, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            parse_krl(data)

    def test_a_list_cut_short_is_refused(self) -> None:
        header = len(krl()) - len("a comment")  # behind it, an empty list is a list
        for cut in {*range(len(KRL_CA))} - {header}:
            with pytest.raises(ValueError):
                parse_krl(KRL_CA[:cut])


class TestSerialRanges:
    def test_ranges_in_any_order_overlapping_and_touching(self) -> None:
        ranges = SerialRanges([(10, 12), (1, 3), (4, 4), (2, 2), (11, 20)])
        assert {n for n in range(30) if n in ranges} == {1, 2, 3, 4, *range(10, 21)}

    def test_none_at_all(self) -> None:
        assert 1 not in SerialRanges()


class TestTextLists:
    def test_one_key_a_line(self) -> None:
        revoked = RevokedKeys.parse(f"# lost\n\n  {ALICE}\n{CA}\n".encode())
        assert revoked.revokes_key(key_of(ALICE))
        assert not revoked.revokes_key(key_of(BOB))
        assert revoked.revokes_certificate(facts_of(RSA_CERTIFICATE))  # by its authority

    def test_a_certificate_stands_for_its_key(self) -> None:
        revoked = RevokedKeys.parse(RSA_CERTIFICATE.encode())
        assert revoked.revokes_key(key_of(RSA))

    @pytest.mark.parametrize("line", [b"rubbish", b"\xff\xfe", b"ssh-new AAAAB3NzaC1uZXc="])
    def test_a_line_that_says_nothing_refuses_the_file(self, line: bytes) -> None:
        with pytest.raises(ValueError, match="line 2 is not a public key"):
            RevokedKeys.parse(ALICE.encode() + b"\n" + line)

    def test_an_empty_file_revokes_nothing(self) -> None:
        assert RevokedKeys.parse(b"") == RevokedKeys()


def test_ssh_keygen_agrees_about_a_list_made_now(tmp_path: Path) -> None:
    ssh_keygen = shutil.which("ssh-keygen")
    if ssh_keygen is None:
        pytest.skip("ssh-keygen is not installed")
    (tmp_path / "ca.pub").write_text(CA)
    serials = [5, *range(40, 90, 3), *range(200, 240)]
    (tmp_path / "spec").write_text("".join(f"serial: {serial}\n" for serial in serials))
    made = tmp_path / "krl"
    command = [ssh_keygen, "-q", "-k", "-f", str(made), "-s", str(tmp_path / "ca.pub")]
    subprocess.run([*command, str(tmp_path / "spec")], check=True)
    assert serials_revoked(RevokedKeys.parse(made.read_bytes()), up_to=300) == set(serials)
