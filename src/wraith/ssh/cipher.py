"""The two packet ciphers, with one nonce state for the hot path and the library's ordinary one.

The library makes a cipher object for each packet and copies the packet several times. These objects
stand in its place: they speak its interface (`encrypt_packet` and its kin), and beside it one that
seals and opens in place. Whichever path a packet takes, the next nonce is the same.

    AES-GCM (RFC 5647, aes*-gcm@openssh.com)     length in the clear, 4 + 8 byte nonce counted up
    chacha20-poly1305@openssh.com                length encrypted by itself, nonce is the sequence
"""

from __future__ import annotations

import struct
from typing import Protocol

from asyncssh.encryption import ChachaEncryption, Encryption, GCMEncryption
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.poly1305 import Poly1305

TAG = 16
COUNTER_MASK = (1 << 64) - 1

pack_nonce = struct.Struct(">4sQ").pack
_length_at = struct.Struct(">I").unpack_from
_ZERO_KEY = bytes(32)


class PacketCipher(Protocol):
    """What the hot path asks of a cipher; one object serves one direction."""

    block: int
    """Packets are padded to a multiple of this, without the length field."""

    def seal(self, seq: int, header: bytes, body: memoryview, out: memoryview) -> None:
        """Write the packet into `out`, which has room for header, body and tag."""
        ...

    def length(self, seq: int, buffer: memoryview, at: int) -> int:
        """The length field of the packet that begins at `at`; nothing is consumed."""
        ...

    def open(self, seq: int, packet: memoryview, out: memoryview) -> None:
        """Check and decrypt a whole packet into `out`. Raises `InvalidTag`; consumes nothing."""
        ...

    def advance(self) -> None:
        """The packet that was opened has been taken."""
        ...


class GcmCipher(Encryption):
    """aes128-gcm@openssh.com and aes256-gcm@openssh.com."""

    __slots__ = ("_aead", "counter", "decrypt_into", "encrypt_into", "fixed")

    block = 16

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._aead = AESGCM(key)
        self.encrypt_into = self._aead.encrypt_into
        self.decrypt_into = self._aead.decrypt_into
        self.fixed = iv[:4]
        self.counter = int.from_bytes(iv[4:], "big")

    def seal(self, seq: int, header: bytes, body: memoryview, out: memoryview) -> None:
        """As `PacketCipher.seal`; takes one nonce."""
        counter = self.counter
        self.encrypt_into(pack_nonce(self.fixed, counter), body, header, out[4:])
        out[:4] = header
        self.counter = (counter + 1) & COUNTER_MASK

    def length(self, seq: int, buffer: memoryview, at: int) -> int:
        """As `PacketCipher.length`."""
        length: int = _length_at(buffer, at)[0]
        return length

    def open(self, seq: int, packet: memoryview, out: memoryview) -> None:
        """As `PacketCipher.open`."""
        nonce = pack_nonce(self.fixed, self.counter)
        self.decrypt_into(nonce, packet[4:], packet[:4], out)

    def advance(self) -> None:
        """As `PacketCipher.advance`."""
        self.counter = (self.counter + 1) & COUNTER_MASK

    # As the library calls it

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """The encrypted packet with its header, and the tag."""
        data = self._aead.encrypt(pack_nonce(self.fixed, self.counter), packet, header)
        self.advance()
        return header + data[:-TAG], data[-TAG:]

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        """The first block unchanged, and the header, which is in the clear."""
        return first_block, first_block[:header_len]

    def decrypt_packet(
        self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes
    ) -> bytes | None:
        """The packet without its header, or None if it is not genuine."""
        nonce = pack_nonce(self.fixed, self.counter)
        self.advance()
        try:
            return self._aead.decrypt(nonce, first[header_len:] + rest + mac, first[:header_len])
        except InvalidTag:
            return None


class ChachaCipher(Encryption):
    """chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305).

    The two key streams are kept and given a new nonce for each packet, which is a good deal cheaper
    than making them anew.
    """

    __slots__ = ("_header_stream", "_stream")

    block = 8

    def __init__(self, key: bytes, header_key: bytes) -> None:
        start = bytes(16)
        self._stream = Cipher(ChaCha20(key, start), mode=None).encryptor()
        self._header_stream = Cipher(ChaCha20(header_key, start), mode=None).encryptor()

    def seal(self, seq: int, header: bytes, body: memoryview, out: memoryview) -> None:
        """As `PacketCipher.seal`."""
        size = 4 + len(body)
        nonce = seq.to_bytes(8, "big")
        self._header_stream.reset_nonce(_BLOCK_0 + nonce)
        self._header_stream.update_into(header, out[:4])
        self._stream.reset_nonce(_BLOCK_0 + nonce)
        tag_key = self._stream.update(_ZERO_KEY)
        self._stream.reset_nonce(_BLOCK_1 + nonce)
        self._stream.update_into(body, out[4:size])
        out[size:] = Poly1305.generate_tag(tag_key, out[:size])

    def length(self, seq: int, buffer: memoryview, at: int) -> int:
        """As `PacketCipher.length`."""
        self._header_stream.reset_nonce(_BLOCK_0 + seq.to_bytes(8, "big"))
        return int.from_bytes(self._header_stream.update(buffer[at : at + 4]), "big")

    def open(self, seq: int, packet: memoryview, out: memoryview) -> None:
        """As `PacketCipher.open`."""
        nonce = seq.to_bytes(8, "big")
        self._stream.reset_nonce(_BLOCK_0 + nonce)
        tag_key = self._stream.update(_ZERO_KEY)
        try:
            Poly1305.verify_tag(tag_key, packet[:-TAG], bytes(packet[-TAG:]))
        except InvalidSignature:
            raise InvalidTag from None
        self._stream.reset_nonce(_BLOCK_1 + nonce)
        self._stream.update_into(packet[4:-TAG], out)

    def advance(self) -> None:
        """As `PacketCipher.advance`; here the sequence number is all the state."""

    # As the library calls it

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """The encrypted packet with its header, and the tag."""
        out = bytearray(4 + len(packet) + TAG)
        self.seal(seq, header, memoryview(packet), memoryview(out))
        return bytes(out[:-TAG]), bytes(out[-TAG:])

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        """The first block unchanged, and the header decrypted."""
        return first_block, self.length(seq, memoryview(first_block), 0).to_bytes(4, "big")

    def decrypt_packet(
        self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes
    ) -> bytes | None:
        """The packet without its header, or None if it is not genuine."""
        packet = memoryview(first + rest + mac)
        out = bytearray(len(packet) - 4 - TAG)
        try:
            self.open(seq, packet, memoryview(out))
        except InvalidTag:
            return None
        return bytes(out)


_BLOCK_0 = (0).to_bytes(8, "little")  # ChaCha20's block counter: the tag's key stands in block 0
_BLOCK_1 = (1).to_bytes(8, "little")

PACKET_CIPHERS = (GcmCipher, ChachaCipher)


def adopt(encryption: Encryption | None) -> Encryption | None:
    """Ours in place of one of the library's, at the nonce where that one stands.

    Anything else, ours included, is returned as it is.
    """
    if type(encryption) is GCMEncryption:
        theirs = encryption._cipher
        return GcmCipher(theirs._key, theirs._iv)
    if type(encryption) is ChachaEncryption:
        return ChachaCipher(encryption._cipher._key, encryption._cipher._adkey)
    return encryption
