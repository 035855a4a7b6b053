"""Writes what `wraith.policy.wire` reads, for examples that ssh-keygen does not make."""

from __future__ import annotations

from collections.abc import Mapping

from tests.policy.openssh_material import ALICE, CA
from wraith.policy.keys import (
    CERTIFICATE_ALGORITHMS,
    CertificateFacts,
    CertificateKind,
    PublicKey,
    parse_certificate,
    parse_public_key_line,
)

FOR_EVER = 2**64 - 1


def string(data: bytes | str) -> bytes:
    encoded = data.encode() if isinstance(data, str) else data
    return len(encoded).to_bytes(4) + encoded


def uint32(value: int) -> bytes:
    return value.to_bytes(4)


def uint64(value: int) -> bytes:
    return value.to_bytes(8)


def section(kind: int, *parts: bytes) -> bytes:
    return bytes([kind]) + string(b"".join(parts))


def krl(*sections: bytes, version: int = 1) -> bytes:
    header = b"SSHKRL\n\0" + uint32(version) + bytes(3 * 8) + string("") + string("a comment")
    return header + b"".join(sections)


def key_of(line: str) -> PublicKey:
    """The key in a line of `openssh_material`."""
    return parse_public_key_line(line)[0]


def facts_of(line: str) -> CertificateFacts:
    """The certificate in a line of `openssh_material`."""
    return parse_certificate(key_of(line).blob)


def options(given: Mapping[str, bytes]) -> bytes:
    return string(b"".join(string(name) + string(value) for name, value in given.items()))


def certificate_blob(
    key: PublicKey,
    *,
    algorithm: str | None = None,
    serial: int = 1,
    kind: int = 1,
    key_id: bytes = b"made here",
    principals: tuple[bytes, ...] = (b"alice",),
    valid: tuple[int, int] = (0, FOR_EVER),
    critical: Mapping[str, bytes] | bytes = b"",
    extensions: Mapping[str, bytes] | bytes = b"",
    signing_key: bytes | None = None,
    trailing: bytes = b"",
) -> bytes:
    """An unsigned certificate, as PROTOCOL.certkeys lays it out."""
    names = {plain: name for name, plain in CERTIFICATE_ALGORITHMS.items()}
    fields = key.blob[4 + len(key.algorithm) :]
    parts = [
        string(algorithm or names[key.algorithm]),
        string(b"nonce"),
        fields,
        uint64(serial),
        uint32(kind),
        string(key_id),
        string(b"".join(map(string, principals))),
        uint64(valid[0]),
        uint64(valid[1]),
        string(critical) if isinstance(critical, bytes) else options(critical),
        string(extensions) if isinstance(extensions, bytes) else options(extensions),
        string(""),
        string(key_of(CA).blob if signing_key is None else signing_key),
        string("no signature"),
        trailing,
    ]
    return b"".join(parts)


def facts(
    *,
    key: PublicKey | None = None,
    signing_key: PublicKey | None = None,
    serial: int = 1,
    key_id: str = "made here",
    kind: CertificateKind = "user",
    principals: tuple[str, ...] = ("alice",),
    valid: tuple[int, int] = (0, FOR_EVER),
    critical: Mapping[str, str | bytes] | None = None,
    extensions: frozenset[str] = frozenset({"permit-port-forwarding"}),
) -> CertificateFacts:
    """The facts of a certificate of ALICE by CA, with what a test is about put in."""
    return CertificateFacts(
        key=key or key_of(ALICE),
        signing_key=signing_key or key_of(CA),
        serial=serial,
        key_id=key_id,
        kind=kind,
        principals=principals,
        valid_after=valid[0],
        valid_before=valid[1],
        critical_options=critical or {},
        extensions=extensions,
    )
