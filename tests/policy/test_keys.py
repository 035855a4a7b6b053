"""Public keys and certificates, held against what ssh-keygen says of them."""

from __future__ import annotations

import base64
import shutil
import subprocess

import pytest

from tests.policy.openssh_material import (
    ALICE,
    CA,
    ECDSA_256,
    ECDSA_384,
    ECDSA_521,
    ECDSA_CERTIFICATE,
    FOREVER_CERTIFICATE,
    HOST,
    HOST_CERTIFICATE,
    LIMITED_CERTIFICATE,
    NOBODY_CERTIFICATE,
    RSA,
    RSA_CERTIFICATE,
    SHORT_RSA,
    STRANGE_CERTIFICATE,
    USER_CERTIFICATE,
)
from tests.policy.wire_builders import (
    FOR_EVER,
    certificate_blob,
    facts_of,
    key_of,
    string,
)
from wraith.policy.keys import (
    PublicKey,
    parse_certificate,
    parse_key_blob,
    parse_public_key_line,
)

JANUARY_2020 = 1577836800
JANUARY_2021 = 1609459200

SK_ED25519 = parse_key_blob(
    string("sk-ssh-ed25519@openssh.com") + string(bytes(range(32))) + string("ssh:")
)
SK_ECDSA = parse_key_blob(
    string("sk-ecdsa-sha2-nistp256@openssh.com")
    + string("nistp256")
    + string(b"\4" + bytes(64))
    + string("ssh:")
)


def encoded(blob: bytes) -> str:
    return base64.b64encode(blob).decode()


class TestPublicKeys:
    def test_a_line_is_a_key_and_a_comment(self) -> None:
        key, comment = parse_public_key_line(ALICE)

        assert key.algorithm == "ssh-ed25519"
        assert comment == "alice@example"
        assert f"{key.line()} {comment}" == ALICE

    def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(self) -> None:
        fingerprint = "SHA256:40CjAWCz0EbTH/1KSjcENDMNAZU2oDFd89p4MYVY/D8"
        assert key_of(ALICE).fingerprint == fingerprint
        assert repr(key_of(ALICE)) == f"<PublicKey ssh-ed25519 {fingerprint}>"

    @pytest.mark.parametrize("line", [ALICE, ECDSA_256, ECDSA_384, ECDSA_521, RSA])
    def test_every_type_is_read_whole(self, line: str) -> None:
        key = key_of(line)
        assert parse_key_blob(key.blob) == key
        with pytest.raises(ValueError, match="left over"):
            parse_key_blob(key.blob + b"\0")
        with pytest.raises(ValueError, match="too early"):
            parse_key_blob(key.blob[:-1])

    def test_security_keys_are_read_too(self) -> None:
        for key in (SK_ED25519, SK_ECDSA):
            assert parse_public_key_line(key.line()) == (key, "")

    def test_rsa_keys_tell_their_length(self) -> None:
        assert key_of(RSA).rsa_bits == 2048
        assert key_of(SHORT_RSA).rsa_bits == 1024
        assert key_of(ALICE).rsa_bits is None

    def test_white_space_is_generous(self) -> None:
        key = key_of(ALICE)
        line = f"  ssh-ed25519\t  {encoded(key.blob)} \t a  comment \n"
        assert parse_public_key_line(line) == (key, "a  comment")

    def test_a_key_of_an_unknown_algorithm_is_kept_as_it_is(self) -> None:
        key, _ = parse_public_key_line(f"ssh-new {encoded(string('ssh-new') + b'anything')}")
        assert key == PublicKey("ssh-new", string("ssh-new") + b"anything")
        with pytest.raises(ValueError, match="unknown algorithm"):
            parse_key_blob(key.blob)

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("", "ends too early"),
            ("ssh-ed25519", "ends too early"),
            ("ssh-ed25519 %%%%", "not in base64"),
            ("ssh-ed25519 AAA", "not in base64"),
            ("ssh-ed25519 ÄÄÄÄ", "not in base64"),
            (ALICE.replace("ssh-ed25519 ", "ssh-rsa "), "not of the algorithm"),
            (f"ssh-ed25519 {encoded(string('ssh-ed25519') + string(bytes(31)))}", "wrong length"),
            (
                "ecdsa-sha2-nistp256 "
                + encoded(string("ecdsa-sha2-nistp256") + string("nistp384") + string("Q")),
                "the curve",
            ),
            (
                f"ssh-rsa {encoded(string('ssh-rsa') + string(b'') + string(b'n'))}",
                "not positive",
            ),
            (
                f"ssh-rsa {encoded(string('ssh-rsa') + string(b'e') + string(bytes([128])))}",
                "not positive",
            ),
        ],
    )
    def test_what_is_no_key_says_why(self, line: str, problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            parse_public_key_line(line)


class TestCertificates:
    def test_a_user_certificate(self) -> None:
        facts = facts_of(USER_CERTIFICATE)

        assert facts.key == key_of(ALICE)
        assert facts.signing_key == key_of(CA)
        assert (facts.serial, facts.key_id, facts.kind) == (7, "alice@laptop", "user")
        assert facts.principals == ("alice", "deploy")
        assert (facts.valid_after, facts.valid_before) == (JANUARY_2020, JANUARY_2021)
        assert facts.critical_options == {}
        assert facts.extensions >= {"permit-port-forwarding", "permit-pty"}

    def test_a_host_certificate(self) -> None:
        facts = facts_of(HOST_CERTIFICATE)
        assert (facts.kind, facts.key) == ("host", key_of(HOST))
        assert facts.principals == ("gw.example.com", "*.lab.example.com")

    def test_one_without_limits(self) -> None:
        facts = facts_of(FOREVER_CERTIFICATE)
        assert (facts.valid_after, facts.valid_before) == (0, FOR_EVER)
        assert facts_of(NOBODY_CERTIFICATE).principals == ()

    def test_options(self) -> None:
        limited = facts_of(LIMITED_CERTIFICATE)
        assert limited.critical_options == {
            "force-command": "/bin/true",
            "source-address": "192.0.2.0/24,2001:db8::/32",
            "verify-required": b"",
        }
        assert limited.extensions == {"no-touch-required"}

        strange = facts_of(STRANGE_CERTIFICATE)
        assert strange.critical_options == {"color@example.com": string("blue")}
        assert "shape@example.com" in strange.extensions

    def test_every_type_of_key_can_be_certified(self) -> None:
        assert facts_of(RSA_CERTIFICATE).key == key_of(RSA)
        assert facts_of(ECDSA_CERTIFICATE).key == key_of(ECDSA_256)
        for line in (ECDSA_384, ECDSA_521):
            assert parse_certificate(certificate_blob(key_of(line))).key == key_of(line)
        for key in (SK_ED25519, SK_ECDSA):
            assert parse_certificate(certificate_blob(key)).key == key

    @pytest.mark.parametrize(
        ("blob", "problem"),
        [
            (key_of(ALICE).blob, "no certificate"),
            (certificate_blob(key_of(ALICE), algorithm="ssh-dss-cert-v01@openssh.com"), "no cert"),
            (certificate_blob(key_of(ALICE), kind=3), "neither a user nor a host"),
            (certificate_blob(key_of(ALICE), key_id=b"\xff"), "utf-8"),
            (certificate_blob(key_of(ALICE), principals=(b"a\0b",)), "NUL"),
            (certificate_blob(key_of(ALICE), principals=(b"p",) * 257), "more than 256"),
            (certificate_blob(key_of(ALICE), critical=b"\0\0\0\1a"), "too early"),
            (certificate_blob(key_of(ALICE), extensions=(string("a") + string("")) * 2), "twice"),
            (certificate_blob(key_of(ALICE), critical={"force-command": b"bare"}), "too early"),
            (
                certificate_blob(key_of(ALICE), critical={"source-address": string("x") + b"y"}),
                "left over",
            ),
            (certificate_blob(key_of(ALICE), signing_key=b""), "too early"),
            (
                certificate_blob(key_of(ALICE), signing_key=key_of(USER_CERTIFICATE).blob),
                "unknown algorithm",  # no authority is a certificate itself
            ),
            (certificate_blob(key_of(ALICE), trailing=b"x"), "left over"),
        ],
    )
    def test_what_is_no_certificate_says_why(self, blob: bytes, problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            parse_certificate(blob)


def test_ssh_keygen_agrees_about_fingerprints() -> None:
    ssh_keygen = shutil.which("ssh-keygen")
    if ssh_keygen is None:
        pytest.skip("ssh-keygen is not installed")
    for line in (ALICE, ECDSA_256, RSA):
        shown = subprocess.run(
            [ssh_keygen, "-l", "-f", "-"], input=line, capture_output=True, text=True, check=True
        )
        assert key_of(line).fingerprint in shown.stdout.split()
