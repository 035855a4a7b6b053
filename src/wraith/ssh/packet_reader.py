"""The hot way in: many packets opened in place from one read, their data handed on uncopied.

    socket ──────────► buffer ─────────► plain buffer ─────────► channels
            recv_into          open each               slices

Both buffers are borrowed, and given back as soon as nothing is left in them. Channel messages are
handled here; everything else (key exchange, requests, the end) is left to the library, packet by
packet and in order.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from asyncssh.packet import SSHPacket
from cryptography.exceptions import InvalidTag

from wraith.ssh.cipher import COUNTER_MASK, TAG, GcmCipher, PacketCipher, pack_nonce
from wraith.ssh.lean_channel import LeanChannel
from wraith.ssh.packet_writer import COUNT_AT
from wraith.streams.hub import BUFFER_SIZE, Hub, borrow, give_back

if TYPE_CHECKING:
    from wraith.ssh.fast_connection import FastConnection

SMALLEST_PACKET = 4 + 8 + TAG  # a NEWKEYS under ChaCha20 has one block of 8 bytes

IGNORE = 2
CHANNEL_OPEN, OPEN_CONFIRMATION, OPEN_FAILURE = 90, 91, 92
WINDOW_ADJUST, DATA, EXTENDED_DATA, EOF, CLOSE = 93, 94, 95, 96, 97
LAST_CHANNEL_MESSAGE = 100

_length_at = struct.Struct(">I").unpack_from
_start_of_message = struct.Struct(">BBII").unpack_from  # padding, type, and two numbers


class BrokenPacket(Exception):
    """A packet that breaks the protocol; the session ends with its text."""


class PacketReader:
    """The receiving half of one connection."""

    __slots__ = (
        "_buffer",
        "_channels",
        "_connection",
        "_end",
        "_hub",
        "_start",
        "cipher",
        "max_length",
        "opened",
        "seq",
        "touched",
    )

    def __init__(self, connection: FastConnection, channels: dict[int, Any], hub: Hub) -> None:
        self._connection = connection
        self._channels = channels
        self._hub = hub
        self._buffer: memoryview | None = None
        self._start = self._end = 0
        self.cipher: PacketCipher | None = None
        self.seq = 0
        self.max_length = 0
        self.opened = 0
        """Bytes opened and not yet counted for the next key exchange."""
        self.touched: list[LeanChannel] = []
        """Channels with data to hand on once the buffer is worked off."""

    # Bytes in

    def space(self) -> memoryview:
        """Where the next bytes may be received; never empty."""
        if self._buffer is None:
            self._buffer = borrow(self._hub)
            self._start = self._end = 0
        if self._end == len(self._buffer):
            self._compact()
        return self._buffer[self._end :]

    def received(self, count: int) -> None:
        """So many bytes have been put where `space` said."""
        self._end += count

    def _compact(self) -> None:
        """Make room at the end: move what is left to the front, or into a larger buffer."""
        assert self._buffer is not None
        left = bytes(self._buffer[self._start : self._end])
        if not self._start:
            give_back(self._hub, self._buffer)
            self._buffer = memoryview(bytearray(2 * len(self._buffer)))
        self._buffer[: len(left)] = left
        self._start, self._end = 0, len(left)

    def __len__(self) -> int:
        return self._end - self._start

    def take(self, count: int) -> bytes:
        """Remove up to `count` bytes from the front, for the library's ordinary path."""
        assert self._buffer is not None
        end = min(self._start + count, self._end)
        data = bytes(self._buffer[self._start : end])
        self._start = end
        self._settle()
        return data

    def _settle(self) -> None:
        """Give the buffer back when it is empty."""
        if self._start >= self._end:
            self._start = self._end = 0
            if self._buffer is not None:
                give_back(self._hub, self._buffer)
                self._buffer = None

    def close(self) -> None:
        """Nothing is read any more."""
        self._start = self._end = 0
        self._settle()

    # Packets out

    def work(self) -> bytes | None:
        """Handle the packets that are there.

        Returns a whole packet, still sealed, that is the library's to handle, or None when more
        bytes are needed. Raises `BrokenPacket` or `InvalidTag`.
        """
        if self._buffer is None:
            return None
        plain = borrow(self._hub)
        try:
            left = self._work(self._buffer, plain)
            self._start += len(left or b"")
        finally:
            touched = self.touched
            if touched:
                for channel in touched:
                    channel.deliver()
                touched.clear()
            give_back(self._hub, plain)
            if self._start >= self._end:
                self._settle()
        if self.opened >= COUNT_AT:
            self._connection.count_traffic()
        return left

    def _work(self, buffer: memoryview, plain: memoryview) -> bytes | None:
        # One long loop, flat on purpose: each call here would be paid for by every message.
        cipher = self.cipher
        assert cipher is not None
        gcm = cipher if type(cipher) is GcmCipher else None
        channels, touched = self._channels, self.touched
        start, end, seq, used = self._start, self._end, self.seq, 0
        try:
            while end - start >= SMALLEST_PACKET:
                length = (
                    _length_at(buffer, start)[0]
                    if gcm is not None
                    else cipher.length(seq, buffer, start)
                )
                if not 8 <= length <= self.max_length:
                    raise BrokenPacket("packet length out of bounds")
                stop = start + length + 4 + TAG
                if stop > end:
                    break
                if used + length > BUFFER_SIZE:
                    used = self._hand_on()
                body = plain[used : used + length]
                if gcm is not None:
                    nonce = pack_nonce(gcm.fixed, gcm.counter)
                    head = buffer[start : start + 4]
                    gcm.decrypt_into(nonce, buffer[start + 4 : stop], head, body)
                else:
                    cipher.open(seq, buffer[start:stop], body)
                kind = body[1]
                if kind == DATA and length >= 16:
                    padding, _, number, size = _start_of_message(body)
                    channel = channels.get(number)
                    if isinstance(channel, LeanChannel):
                        if 10 + size + padding != length or size > channel.window:
                            raise BrokenPacket("channel data out of bounds")
                        if channel.received_eof:
                            raise BrokenPacket("channel data after its end")
                        channel.window -= size
                        if channel.pending is None:
                            channel.pending = [body[10 : 10 + size]]
                            touched.append(channel)
                        else:
                            channel.pending.append(body[10 : 10 + size])
                        used += length
                    else:
                        return bytes(buffer[start:stop])
                elif WINDOW_ADJUST <= kind <= CLOSE and length >= 16:
                    padding, _, number, size = _start_of_message(body)
                    channel = channels.get(number)
                    if not isinstance(channel, LeanChannel):
                        return bytes(buffer[start:stop])
                    if kind == EOF and length - padding == 6:
                        channel.end_received()
                    elif kind == CLOSE and length - padding == 6:
                        channel.close_received()
                    elif kind == WINDOW_ADJUST and length - padding == 10:
                        channel.widen(size)
                    else:
                        return bytes(buffer[start:stop])
                elif not (CHANNEL_OPEN <= kind <= LAST_CHANNEL_MESSAGE) and kind != IGNORE:
                    return bytes(buffer[start:stop])
                elif kind != IGNORE:
                    message = bytes(body[1 : length - body[0]])
                    if not self._connection.channel_message(kind, seq, message):
                        return None  # that was the end of the session
                if gcm is not None:
                    gcm.counter = (gcm.counter + 1) & COUNTER_MASK
                seq = (seq + 1) & 0xFFFFFFFF
                start = stop
                self.opened += length
        except InvalidTag:
            raise BrokenPacket("a packet is not genuine") from None
        finally:
            self.seq = seq
            self._start = start
        return None

    def _hand_on(self) -> int:
        """The plain buffer is full: let the channels empty it."""
        for channel in self.touched:
            channel.deliver()
        self.touched.clear()
        return 0


def packet_of(payload: bytes) -> SSHPacket:
    """The library's view of a message, its type already read."""
    packet = SSHPacket(payload)
    packet.get_byte()
    return packet
