from __future__ import annotations

import pytest

from wraith.protocol import stealth_proof
from wraith.protocol.first_bytes import Doorkeeper, begins_tls

SECRET = b"sixteen bytes or more"
BINDING = bytes(range(48))
SSH = b"SSH-2.0-OpenSSH_9.2\r\n"


def test_what_begins_tls() -> None:
    assert begins_tls(0x16)
    assert begins_tls(0x80)
    assert begins_tls(0xFF)
    assert not begins_tls(ord("G"))
    assert not begins_tls(0x15)


def test_without_a_secret_whoever_speaks_ssh_is_ours() -> None:
    doorkeeper = Doorkeeper()
    assert doorkeeper.admit(SSH, None) == SSH
    assert doorkeeper.admit(b"SSH-2.0-", BINDING) == b"SSH-2.0-"


@pytest.mark.parametrize(
    "record",
    [b"SSH-", b"SSH-2.0", b"SSH-1.99-x\r\n", b"GET / HTTP/1.1\r\n", b"\nSSH-2.0-", b"ssh-2.0-"],
)
def test_everybody_else_is_a_stranger(record: bytes) -> None:
    assert Doorkeeper().admit(record, BINDING) is None


def test_with_a_secret_only_its_proof_lets_in() -> None:
    doorkeeper = Doorkeeper(SECRET)
    proof = stealth_proof.prove(SECRET, BINDING)
    assert doorkeeper.admit(proof, BINDING) == b""
    assert doorkeeper.admit(proof + SSH, BINDING) == SSH
    assert doorkeeper.admit(SSH, BINDING) is None
    assert doorkeeper.admit(proof[:-1], BINDING) is None
    assert doorkeeper.admit(proof[:-1] + b"\0", BINDING) is None
    assert doorkeeper.admit(b"", BINDING) is None
    assert doorkeeper.admit(stealth_proof.prove(b"another secret here", BINDING), BINDING) is None


def test_a_recorded_proof_is_worth_nothing_on_another_connection() -> None:
    recorded = stealth_proof.prove(SECRET, BINDING) + SSH
    assert Doorkeeper(SECRET).admit(recorded, bytes(48)) is None


def test_a_connection_without_a_binding_proves_nothing() -> None:
    for binding in (None, b""):
        assert Doorkeeper(SECRET).admit(stealth_proof.prove(SECRET, b""), binding) is None


def test_the_secret_is_not_shown() -> None:
    assert repr(Doorkeeper(SECRET)) == "<Doorkeeper secret=***>"
    assert repr(Doorkeeper()) == "<Doorkeeper secret=None>"
