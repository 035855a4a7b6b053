"""Public keys and certificates as plain facts, without an SSH library.

A key is an algorithm and a blob, the `string`s of RFC 4253, section 6.6. A certificate is such a
blob with a signed statement in it (OpenSSH, PROTOCOL.certkeys). Only its facts are read here: that
its signature is good is for those to check who have the cryptography.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from wraith.policy.wire import Reader

#: What follows the algorithm's name in the blob of a key: so many strings (an mpint is one too).
KEY_FIELDS: Final[Mapping[str, int]] = {
    "ssh-ed25519": 1,  # the point
    "sk-ssh-ed25519@openssh.com": 2,  # the point, the application
    "ecdsa-sha2-nistp256": 2,  # the curve's name, the point
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,  # the curve's name, the point, the application
    "ssh-rsa": 2,  # e, n
}

#: The keys that a certificate can be about, by the name of the certificate's own algorithm.
CERTIFICATE_ALGORITHMS: Final[Mapping[str, str]] = {
    f"{name.removesuffix('@openssh.com')}-cert-v01@openssh.com": name for name in KEY_FIELDS
}

#: OpenSSH's SSHKEY_CERT_MAX_PRINCIPALS.
MAX_PRINCIPALS = 256

CertificateKind: TypeAlias = Literal["user", "host"]

_KINDS: Final[Mapping[int, CertificateKind]] = {1: "user", 2: "host"}

_ED25519_BYTES = 32

# The critical options whose data is one string; `verify-required` and the extensions have none.
_TEXT_OPTIONS = frozenset({"force-command", "source-address"})


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; two are equal when their blobs are."""

    algorithm: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and the unpadded base64 of the blob's SHA-256, as `ssh-keygen -l` shows it."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def rsa_bits(self) -> int | None:
        """The length of an RSA modulus in bits; None for every other algorithm."""
        if self.algorithm != "ssh-rsa":
            return None
        reader = Reader(self.blob)
        reader.string(), reader.natural()  # the name, and e
        return reader.natural().bit_length()

    def line(self) -> str:
        """Return the key as one line of text, without a comment."""
        return f"{self.algorithm} {base64.b64encode(self.blob).decode()}"

    def __repr__(self) -> str:
        return f"<PublicKey {self.algorithm} {self.fingerprint}>"


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What an OpenSSH certificate says about `key`, on the word of `signing_key`.

    `valid_after` and `valid_before` are unix seconds; it is valid from the first, and no longer at
    the second, whose greatest value (2**64 - 1) means for ever. Of the critical options, those
    that OpenSSH knows have their text as value, others the bytes as they are.
    """

    key: PublicKey
    signing_key: PublicKey
    serial: int
    key_id: str
    kind: CertificateKind
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical_options: Mapping[str, str | bytes]
    extensions: frozenset[str]


def parse_key_blob(blob: bytes) -> PublicKey:
    """Return the key in `blob`; `ValueError` if it is malformed or of an unknown algorithm."""
    reader = Reader(blob)
    algorithm = reader.text()
    _skip_key_fields(reader, algorithm)
    reader.finish()
    return PublicKey(algorithm, blob)


def parse_public_key_line(text: str) -> tuple[PublicKey, str]:
    """Return the key and the comment in `ALGORITHM BASE64 [COMMENT]`, as in a `.pub` file.

    The blob must begin with the name that the line does; of an algorithm in `KEY_FIELDS` it must
    be whole as well. Raises `ValueError`.
    """
    algorithm, _, rest = text.strip().replace("\t", " ").partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key is not in base64") from None
    if Reader(blob).string() != algorithm.encode():
        raise ValueError("the key is not of the algorithm that the line says")
    key = parse_key_blob(blob) if algorithm in KEY_FIELDS else PublicKey(algorithm, blob)
    return key, comment.strip()


def parse_certificate(blob: bytes) -> CertificateFacts:
    """Return the facts in a certificate's `blob`, whose signature is not checked.

    Raises `ValueError` for a malformed certificate and for an algorithm that is not in
    `CERTIFICATE_ALGORITHMS`.
    """
    reader = Reader(blob)
    key = _certified_key(reader)
    serial, kind, key_id = reader.uint64(), _KINDS.get(reader.uint32()), reader.text()
    if kind is None:
        raise ValueError("the certificate is for neither a user nor a host")
    principals = _principals(reader.string())
    valid_after, valid_before = reader.uint64(), reader.uint64()
    critical, extensions = _options(reader.string()), _options(reader.string())
    reader.string()  # reserved
    signing_key = parse_key_blob(reader.string())
    reader.string()  # the signature
    reader.finish()
    return CertificateFacts(
        key=key,
        signing_key=signing_key,
        serial=serial,
        key_id=key_id,
        kind=kind,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        critical_options={name: _option_value(name, data) for name, data in critical.items()},
        extensions=frozenset(extensions),
    )


def _certified_key(reader: Reader) -> PublicKey:
    algorithm = CERTIFICATE_ALGORITHMS.get(reader.text())
    if algorithm is None:
        raise ValueError("this is no certificate of a known algorithm")
    reader.string()  # the nonce
    name = algorithm.encode()
    fields = _skip_key_fields(reader, algorithm)
    return PublicKey(algorithm, len(name).to_bytes(4) + name + fields)


def _skip_key_fields(reader: Reader, algorithm: str) -> bytes:
    """Read the fields of a key, and return them as they stand in the blob."""
    if algorithm not in KEY_FIELDS:
        raise ValueError("the key is of an unknown algorithm")
    fields = [reader.string() for _ in range(KEY_FIELDS[algorithm])]
    if "ecdsa" in algorithm and fields[0] != _curve(algorithm):
        raise ValueError("the curve of the key is not the one that its algorithm says")
    if "ed25519" in algorithm and len(fields[0]) != _ED25519_BYTES:
        raise ValueError("the key has the wrong length")
    if algorithm == "ssh-rsa" and any(not field or field[0] & 0x80 for field in fields):
        raise ValueError("a number in the key is not positive")
    return b"".join(len(field).to_bytes(4) + field for field in fields)


def _curve(algorithm: str) -> bytes:
    return algorithm.removesuffix("@openssh.com").rpartition("-")[2].encode()


def _principals(data: bytes) -> tuple[str, ...]:
    reader, names = Reader(data), []
    while reader:
        names.append(reader.text())
        if len(names) > MAX_PRINCIPALS:
            raise ValueError(f"the certificate has more than {MAX_PRINCIPALS} principals")
    return tuple(names)


def _options(data: bytes) -> dict[str, bytes]:
    reader = Reader(data)
    options: dict[str, bytes] = {}
    while reader:
        name, value = reader.text(), reader.string()
        if name in options:
            raise ValueError("the certificate has one option twice")
        options[name] = value
    return options


def _option_value(name: str, data: bytes) -> str | bytes:
    if name not in _TEXT_OPTIONS:
        return data
    reader = Reader(data)
    value = reader.text()
    reader.finish()
    return value
