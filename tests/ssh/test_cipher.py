"""Our packet ciphers against the library's, and the nonce that both paths share."""

from __future__ import annotations

from typing import Any, cast

import pytest
from asyncssh.encryption import Encryption
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ssh_link import CIPHERS, number, our_cipher, stock_cipher
from wraith.ssh.cipher import COUNTER_MASK, GcmCipher, PacketCipher, adopt

TAG = 16


def sealed(cipher: PacketCipher, seq: int, body: bytes) -> bytes:
    out = bytearray(4 + len(body) + TAG)
    cipher.seal(seq, number(len(body)), memoryview(body), memoryview(out))
    return bytes(out)


@pytest.mark.parametrize("name", CIPHERS)
@given(bodies=st.lists(st.binary(min_size=16, max_size=200), min_size=1, max_size=6))
def test_what_we_seal_the_library_opens_and_the_other_way_round(
    name: bytes, bodies: list[bytes]
) -> None:
    ours, theirs = our_cipher(name, 0), stock_cipher(name, 0)
    opening, sealing = our_cipher(name, 1), stock_cipher(name, 1)
    for seq, body in enumerate(bodies):
        packet = sealed(ours, seq, body)
        first, header = theirs.decrypt_header(seq, packet[:8], 4)
        assert header == number(len(body))
        assert theirs.decrypt_packet(seq, first, packet[8:-TAG], 4, packet[-TAG:]) == body
        data, tag = sealing.encrypt_packet(seq, number(len(body)), body)
        whole, plain = memoryview(data + tag), bytearray(len(body))
        assert opening.length(seq, whole, 0) == len(body)
        opening.open(seq, whole, memoryview(plain))
        opening.advance()
        assert bytes(plain) == body


@pytest.mark.parametrize("name", CIPHERS)
@given(turns=st.lists(st.booleans(), min_size=1, max_size=12))
def test_the_path_may_change_at_any_packet_and_the_nonce_goes_along(
    name: bytes, turns: list[bool]
) -> None:
    """Sealed on either path by one object, opened on either path by another."""
    ours: Any = our_cipher(name, 0)
    reading: Any = our_cipher(name, 0)
    theirs = stock_cipher(name, 0)
    for seq, hot in enumerate(turns):
        body = bytes([seq]) * 24
        if hot:
            packet = sealed(ours, seq, body)
        else:
            packet = b"".join(ours.encrypt_packet(seq, number(len(body)), body))
        first, _ = theirs.decrypt_header(seq, packet[:8], 4)
        assert theirs.decrypt_packet(seq, first, packet[8:-TAG], 4, packet[-TAG:]) == body
        if hot:
            first, header = reading.decrypt_header(seq, packet[:8], 4)
            assert header == number(len(body))
            assert reading.decrypt_packet(seq, first, packet[8:-TAG], 4, packet[-TAG:]) == body
        else:
            plain = bytearray(len(body))
            reading.open(seq, memoryview(packet), memoryview(plain))
            reading.advance()
            assert bytes(plain) == body


@pytest.mark.parametrize("name", CIPHERS)
def test_what_was_looked_at_and_not_taken_is_opened_again_by_the_other_path(name: bytes) -> None:
    """The reader opens a packet, finds that it is the library's, and hands it over sealed."""
    reading: Any = our_cipher(name, 0)
    packet = sealed(our_cipher(name, 0), 0, b"x" * 24)
    plain = bytearray(24)
    reading.open(0, memoryview(packet), memoryview(plain))
    first, _ = reading.decrypt_header(0, packet[:8], 4)
    assert reading.decrypt_packet(0, first, packet[8:-TAG], 4, packet[-TAG:]) == b"x" * 24


@pytest.mark.parametrize("name", CIPHERS)
def test_a_changed_packet_opens_on_neither_path(name: bytes) -> None:
    packet = bytearray(sealed(our_cipher(name, 0), 0, b"x" * 24))
    packet[10] ^= 1
    hot, ordinary = our_cipher(name, 0), our_cipher(name, 0)
    with pytest.raises(InvalidTag):
        hot.open(0, memoryview(packet), memoryview(bytearray(24)))
    library: Any = ordinary
    first, rest, tag = bytes(packet[:8]), bytes(packet[8:-TAG]), bytes(packet[-TAG:])
    assert library.decrypt_packet(0, first, rest, 4, tag) is None


def test_a_cipher_is_adopted_at_the_nonce_where_it_stands() -> None:
    theirs = stock_cipher(CIPHERS[0], 0)
    for seq in range(3):
        theirs.encrypt_packet(seq, number(16), bytes(16))
    ours = adopt(theirs)
    assert isinstance(ours, GcmCipher)
    assert ours.counter == 3


def test_the_counter_wraps_where_the_librarys_does() -> None:
    """RFC 5647 section 7.1: 8 bytes that are counted up, beside 4 that stay."""
    ours, theirs = our_cipher(CIPHERS[1], 1), stock_cipher(CIPHERS[1], 1)
    assert isinstance(ours, GcmCipher)
    assert ours.counter == COUNTER_MASK
    for seq in range(3):
        packet = sealed(ours, seq, bytes(32))
        assert packet == b"".join(theirs.encrypt_packet(seq, number(32), bytes(32)))


def test_what_is_ours_already_or_no_cipher_of_these_is_left_alone() -> None:
    ours = our_cipher(CIPHERS[2], 0)
    for other in (ours, Encryption(), None):
        assert adopt(cast(Encryption | None, other)) is other
