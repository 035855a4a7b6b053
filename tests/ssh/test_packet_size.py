"""How large packets are, and why just so."""

from __future__ import annotations

import pytest

from wraith.ssh.cipher import PACKET_CIPHERS, TAG, PacketCipher
from wraith.ssh.packet_writer import HEAD, MAX_PACKET, padding_for
from wraith.streams.sealing import RECORD


@pytest.mark.parametrize("cipher", PACKET_CIPHERS)
def test_the_largest_packet_fills_sixteen_records_of_tls(cipher: type[PacketCipher]) -> None:
    padding = padding_for(HEAD - 4 + MAX_PACKET, cipher.block)
    sealed = HEAD + MAX_PACKET + padding + TAG
    assert 16 * RECORD - 16 < sealed <= 16 * RECORD
