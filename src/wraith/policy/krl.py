"""OpenSSH's binary key revocation list (PROTOCOL.krl), from bytes to sets.

A file is a header and sections, and a section about certificates has sections of its own. What is
malformed, of an unknown type or critical and unknown is a `ValueError` for the whole file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from wraith.policy.keys import CertificateFacts
from wraith.policy.wire import Reader

MAGIC = b"SSHKRL\n\0"
FORMAT_VERSION = 1

#: OpenSSH reads no longer number than this either (SSHBUF_MAX_BIGNUM).
MAX_BITMAP_BITS = 16384

_MAX_SERIAL = 2**64 - 1


class Section(IntEnum):
    """The sections of a file."""

    CERTIFICATES = 1
    EXPLICIT_KEY = 2
    FINGERPRINT_SHA1 = 3
    SIGNATURE = 4
    FINGERPRINT_SHA256 = 5
    EXTENSION = 255


class CertificateSection(IntEnum):
    """The sections inside a `CERTIFICATES` section."""

    SERIAL_LIST = 0x20
    SERIAL_RANGE = 0x21
    SERIAL_BITMAP = 0x22
    KEY_ID = 0x23
    EXTENSION = 0x39


class SerialRanges:
    """A set of serial numbers, given as inclusive ranges in any order."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        merged: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = merged[-1][0], max(high, merged[-1][1])
            else:
                merged.append((low, high))
        self._ranges = tuple(merged)

    def __contains__(self, serial: int) -> bool:
        index = bisect_right(self._ranges, (serial, _MAX_SERIAL))
        return index > 0 and serial <= self._ranges[index - 1][1]


@dataclass(frozen=True, slots=True)
class RevokedCertificates:
    """What one section says about the certificates of one authority, or with None of all."""

    authority: bytes | None
    serials: SerialRanges
    key_ids: frozenset[str]

    def revokes(self, facts: CertificateFacts) -> bool:
        """Whether the certificate is one of these."""
        if self.authority not in {None, facts.signing_key.blob}:
            return False
        # Zero is what an authority that counts nothing gives to all its certificates.
        serial_revoked = facts.serial != 0 and facts.serial in self.serials
        return serial_revoked or facts.key_id in self.key_ids


@dataclass(slots=True)
class KeyRevocationList:
    """What the sections of a file say, taken together."""

    blobs: set[bytes] = field(default_factory=set)
    sha1: set[bytes] = field(default_factory=set)
    sha256: set[bytes] = field(default_factory=set)
    certificates: list[RevokedCertificates] = field(default_factory=list)


def parse_krl(data: bytes) -> KeyRevocationList:
    """Return what a whole file says; `ValueError`.

    The signatures that it may end with are not checked (nor does OpenSSH since 9.4): whoever can
    write the file decides what is revoked.
    """
    reader = Reader(data)
    if reader.take(len(MAGIC)) != MAGIC or reader.uint32() != FORMAT_VERSION:
        raise ValueError("this is no key revocation list of a known version")
    reader.take(3 * 8)  # its own version, its date, flags
    reader.string(), reader.string()  # reserved, a comment
    found = KeyRevocationList()
    signed = False
    while reader:
        kind, body = reader.byte(), reader.string()
        if kind == Section.SIGNATURE:
            reader.string()  # `body` was the key
            signed = True
        elif signed:
            raise ValueError("there is something behind the signature of the revocation list")
        else:
            _read_section(kind, Reader(body), found)
    return found


def _read_section(kind: int, body: Reader, found: KeyRevocationList) -> None:
    match kind:
        case Section.CERTIFICATES:
            found.certificates.append(_read_certificates(body))
        case Section.EXPLICIT_KEY:
            found.blobs.update(body.strings())
        case Section.FINGERPRINT_SHA1:
            found.sha1.update(_digests(body, 20))
        case Section.FINGERPRINT_SHA256:
            found.sha256.update(_digests(body, 32))
        case Section.EXTENSION:
            _skip_extension(body)
        case _:
            raise ValueError(f"the revocation list has a section of unknown type {kind}")


def _digests(body: Reader, length: int) -> list[bytes]:
    digests = body.strings()
    if any(len(digest) != length for digest in digests):
        raise ValueError("a fingerprint in the revocation list has the wrong length")
    return digests


def _skip_extension(body: Reader) -> None:
    body.string()  # its name
    critical = body.byte()
    body.string()
    body.finish()
    if critical:
        raise ValueError("the revocation list has a critical extension that is not known here")


def _read_certificates(reader: Reader) -> RevokedCertificates:
    authority = reader.string() or None
    reader.string()  # reserved
    serials: list[tuple[int, int]] = []
    key_ids: set[str] = set()
    while reader:
        kind, body = reader.byte(), Reader(reader.string())
        match kind:
            case CertificateSection.SERIAL_LIST:
                serials.extend(_serial_list(body))
            case CertificateSection.SERIAL_RANGE:
                serials.append(_serial_range(body))
            case CertificateSection.SERIAL_BITMAP:
                serials.extend(_serial_bitmap(body))
            case CertificateSection.KEY_ID:
                key_ids.update(_key_ids(body))
            case CertificateSection.EXTENSION:
                _skip_extension(body)
            case _:
                raise ValueError(f"the revocation list has certificates by unknown type {kind}")
    return RevokedCertificates(authority, SerialRanges(serials), frozenset(key_ids))


def _serial_list(body: Reader) -> Iterator[tuple[int, int]]:
    while body:
        serial = body.uint64()
        yield serial, serial


def _serial_range(body: Reader) -> tuple[int, int]:
    low, high = body.uint64(), body.uint64()
    body.finish()
    if low > high:
        raise ValueError("a range of serials in the revocation list ends before it begins")
    return low, high


def _serial_bitmap(body: Reader) -> Iterator[tuple[int, int]]:
    """Yield the serials whose bits are set: bit 0 is the offset itself."""
    offset, bits = body.uint64(), body.natural()
    body.finish()
    length = bits.bit_length()
    if length > MAX_BITMAP_BITS or offset + length > _MAX_SERIAL + 1:
        raise ValueError("a bitmap of serials in the revocation list is too long")
    for index in range(length):
        if bits >> index & 1:
            yield offset + index, offset + index


def _key_ids(body: Reader) -> Iterator[str]:
    while body:
        # One that is not UTF-8 is in no certificate read here, but the rest of the list counts.
        yield body.text(errors="surrogateescape")
