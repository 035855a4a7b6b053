"""Keys and certificates that are no longer good (sshd_config(5), RevokedKeys).

Two formats are read: OpenSSH's binary KRL, and plain text with one public key a line. A file that
cannot be understood as a whole is refused as a whole: skipping what it says would let in what it
was written to keep out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from wraith.policy.keys import (
    CERTIFICATE_ALGORITHMS,
    CertificateFacts,
    PublicKey,
    parse_certificate,
    parse_key_blob,
    parse_public_key_line,
)
from wraith.policy.krl import MAGIC, RevokedCertificates, parse_krl


@dataclass(frozen=True, slots=True)
class RevokedKeys:
    """What is revoked: keys by their blobs and digests, certificates by what `krl` found."""

    blobs: frozenset[bytes] = frozenset()
    sha1: frozenset[bytes] = frozenset()
    sha256: frozenset[bytes] = frozenset()
    certificates: tuple[RevokedCertificates, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return what `data`, a KRL or a list of public keys, revokes; `ValueError`."""
        if not data.startswith(MAGIC):
            return cls(frozenset(_listed_keys(data)))
        krl = parse_krl(data)
        return cls(
            frozenset(krl.blobs),
            frozenset(krl.sha1),
            frozenset(krl.sha256),
            tuple(krl.certificates),
        )

    def revokes_key(self, key: PublicKey) -> bool:
        """Whether the key itself is revoked, in whichever way it is named."""
        return (
            key.blob in self.blobs
            or hashlib.sha256(key.blob).digest() in self.sha256
            or hashlib.sha1(key.blob, usedforsecurity=False).digest() in self.sha1
        )

    def revokes_certificate(self, facts: CertificateFacts) -> bool:
        """Whether the certificate, the key in it or the authority that signed it is revoked."""
        return (
            self.revokes_key(facts.key)
            or self.revokes_key(facts.signing_key)
            or any(section.revokes(facts) for section in self.certificates)
        )

    def __repr__(self) -> str:
        keys = len(self.blobs) + len(self.sha1) + len(self.sha256)
        return f"<RevokedKeys {keys} keys, certificates of {len(self.certificates)} authorities>"


def _listed_keys(data: bytes) -> Iterator[bytes]:
    """Yield the blobs in a text list; a certificate stands for the key in it, as in OpenSSH."""
    for number, line in enumerate(data.decode(errors="replace").split("\n"), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            key, _ = parse_public_key_line(text)
            if key.algorithm in CERTIFICATE_ALGORITHMS:
                key = parse_certificate(key.blob).key
            yield parse_key_blob(key.blob).blob
        except ValueError as error:
            raise ValueError(f"line {number} is not a public key: {error}") from None
