"""One SSH connection without a handshake: our hot path here, a peer that plays by the book there.

    link = Link(CIPHERS[0])
    channel = link.open(Listening)
    link.hears(link.peer.data(channel, b"hello"))
    assert link.says() == [...]

The peer seals and opens with the SSH library's own ciphers, so what we seal and open is held
against another implementation each time. `Link` stands where the connection stands; what the hot
path asks of a connection is all that it has.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from asyncssh.encryption import get_encryption, get_encryption_params
from asyncssh.packet import SSHPacket

from wraith.dialing.base import Attempt, Outcome
from wraith.errors import Refusal
from wraith.policy.window_budget import WindowBudget
from wraith.ssh.cipher import PACKET_CIPHERS, PacketCipher, adopt
from wraith.ssh.fast_connection import FastConnection
from wraith.ssh.lean_channel import (
    CLOSE,
    DATA,
    EOF,
    EXTENDED_DATA,
    OPEN_CONFIRMATION,
    OPEN_FAILURE,
    REQUEST,
    WINDOW_ADJUST,
    LeanChannel,
)
from wraith.ssh.packet_reader import BrokenPacket, PacketReader, packet_of
from wraith.ssh.packet_writer import MAX_PACKET, PacketWriter, padding_for
from wraith.streams.deadlines import Deadlines
from wraith.streams.hub import Hub, InlineSelector
from wraith.values.address import Destination

CIPHERS = (
    b"aes128-gcm@openssh.com",
    b"aes256-gcm@openssh.com",
    b"chacha20-poly1305@openssh.com",
)

TAG = 16
PEER_NUMBER = 7
"""The peer's number for the first channel that a test opens; the next ones count up."""

KEYS = (bytes(range(64)), bytes(range(100, 164)))
NONCES = (b"\1\2\3\4" + bytes(8), b"\5\6\7\x08" + b"\xff" * 8)  # one of them about to overflow

C = TypeVar("C", bound=LeanChannel)


def stock_cipher(name: bytes, direction: int) -> Any:
    """The library's cipher for one direction; both ends make the same."""
    size = get_encryption_params(name)[0]
    return get_encryption(name, KEYS[direction][:size], NONCES[direction], b"", b"", True)


def our_cipher(name: bytes, direction: int) -> PacketCipher:
    """Ours, at the same nonce."""
    cipher = adopt(stock_cipher(name, direction))
    assert isinstance(cipher, PACKET_CIPHERS)
    return cipher


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def string(data: bytes) -> bytes:
    return number(len(data)) + data


class Peer:
    """The other end, with the library's ciphers and a packet builder that allows any mistake."""

    def __init__(self, name: bytes) -> None:
        self._seal, self._open = stock_cipher(name, 0), stock_cipher(name, 1)
        self._block = 8 if b"chacha" in name else 16
        self._seq = self._seen = 0
        self.paddings: list[bytes] = []
        """The padding of every packet that was read."""

    def packet(self, payload: bytes, padding: bytes | None = None) -> bytes:
        """A sealed packet; `padding` only where it shall be odd."""
        if padding is None:
            padding = bytes(padding_for(1 + len(payload), self._block))
        body = bytes((len(padding),)) + payload + padding
        sealed, tag = self._seal.encrypt_packet(self._seq, number(len(body)), body)
        self._seq = (self._seq + 1) & 0xFFFFFFFF
        return bytes(sealed + tag)

    def message(self, kind: int, channel: int, rest: bytes = b"") -> bytes:
        return self.packet(bytes((kind,)) + number(channel) + rest)

    def data(self, channel: int, data: bytes) -> bytes:
        return self.message(DATA, channel, string(data))

    def extended(self, channel: int, data: bytes) -> bytes:
        return self.message(EXTENDED_DATA, channel, number(1) + string(data))

    def adjust(self, channel: int, count: int) -> bytes:
        return self.message(WINDOW_ADJUST, channel, number(count))

    def eof(self, channel: int) -> bytes:
        return self.message(EOF, channel)

    def close(self, channel: int) -> bytes:
        return self.message(CLOSE, channel)

    def request(self, channel: int, want_reply: bool = True) -> bytes:
        return self.message(REQUEST, channel, string(b"x@example.com") + bytes((want_reply,)))

    def read(self, data: bytes) -> list[bytes]:
        """The messages in what we sent; fails on anything that is not whole and genuine."""
        messages = []
        while data:
            first, header = self._open.decrypt_header(self._seen, data[: self._block], 4)
            end = 4 + int.from_bytes(header, "big")
            rest, tag = data[self._block : end], data[end : end + TAG]
            body = self._open.decrypt_packet(self._seen, first, rest, 4, tag)
            assert body is not None, "not genuine"
            assert len(body) % self._block == 0, "not a whole number of blocks"
            assert body[0] >= 4, "too little padding"
            self._seen = (self._seen + 1) & 0xFFFFFFFF
            self.paddings.append(body[-body[0] :])
            messages.append(bytes(body[1 : -body[0]]))
            data = data[end + TAG :]
        return messages


class Link:
    """Where the hot path expects its connection."""

    logger = None
    round_trip = 0.0

    def __init__(self, name: bytes = CIPHERS[0], hub: Hub | None = None) -> None:
        self.hub: Hub = InlineSelector() if hub is None else hub
        self.peer = Peer(name)
        self.receive_max = self.send_max = MAX_PACKET
        self.windows = WindowBudget(64 * 1024 * 1024)
        self.channels: dict[int, Any] = {}
        self.unanswered: Deadlines[Any] = Deadlines(150)
        self.sent = bytearray()
        self.rare: list[bytes] = []
        """Packets that the reader left to the library, opened."""
        self.deferred: list[bytes] = []
        """Messages that came while a key exchange was under way."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.lost: list[OSError | None] = []
        self.events: list[int] = []
        self._choked = False
        self.counted = 0
        self.attempts: list[tuple[Destination, Outcome]] = []
        self.attempt: Attempt | None = None
        as_connection = cast(FastConnection, self)
        self.writer = PacketWriter(as_connection, self.hub)
        self.writer.use_cipher(our_cipher(name, 1))
        self.writer.kex_done = True
        self.writer.resume()
        self.reader = PacketReader(as_connection, self.channels, self.hub)
        self.reader.cipher = our_cipher(name, 0)
        self.reader.max_length = MAX_PACKET + 1024
        self._library_cipher = self.reader.cipher

    # What a test does

    def open(
        self,
        kind: Callable[[FastConnection], C],
        window: int = 1 << 20,
        max_packet: int = MAX_PACKET,
    ) -> C:
        """A channel that the peer has confirmed."""
        channel = kind(cast(FastConnection, self))
        peer = PEER_NUMBER + channel.number
        channel.process_open_confirmation(peer, window, max_packet, cast(SSHPacket, None))
        return channel

    def hears(self, *pieces: bytes) -> None:
        """Bytes arrive, cut like this; raises `BrokenPacket` as the connection would hear it."""
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                space = self.reader.space()
                count = min(len(space), len(rest))
                space[:count] = rest[:count]
                self.reader.received(count)
                rest = rest[count:]
                self._pump()

    def _pump(self) -> None:
        while len(self.reader):
            packet = self.reader.work()
            if packet is None:
                return
            self._to_the_library(self._as_the_library(packet))

    def _as_the_library(self, packet: bytes) -> bytes:
        """Open a packet the library's way, with the same cipher object and sequence number."""
        cipher: Any = self.reader.cipher
        seq = self.reader.seq
        first, _ = cipher.decrypt_header(seq, packet[:8], 4)
        body = cipher.decrypt_packet(seq, first, packet[8:-TAG], 4, packet[-TAG:])
        if body is None:
            raise BrokenPacket("a packet is not genuine")
        self.reader.seq = (seq + 1) & 0xFFFFFFFF
        return bytes(body[1 : len(body) - body[0]])

    def _to_the_library(self, message: bytes) -> None:
        packet = packet_of(message)
        if DATA <= message[0] <= REQUEST:
            channel = self.channels.get(packet.get_uint32())
            if channel is not None:
                channel.process_packet(message[0], 0, packet)
                return
        self.rare.append(message)

    def says(self) -> list[bytes]:
        """The messages that were sent since the last look."""
        while self.hub.dirty:
            self.hub.dirty.pop().flush()
        sent, self.sent = bytes(self.sent), bytearray()
        return self.peer.read(sent)

    def data_of(self, channel: LeanChannel, messages: list[bytes] | None = None) -> bytes:
        """What of the messages is this channel's data."""
        head = bytes((DATA,)) + number(channel.peer)
        messages = self.says() if messages is None else messages
        return b"".join(message[9:] for message in messages if message.startswith(head))

    def turn(self) -> None:
        """One turn of the loop's selector."""
        assert isinstance(self.hub, InlineSelector)
        self.hub.select(0)

    def key_exchange(self, under_way: bool) -> None:
        """Begin or end one."""
        self.writer.kex_done = not under_way
        if under_way:
            self.writer.hold()
        else:
            self.writer.resume()

    def full(self, is_full: bool) -> None:
        """The stream below takes no more, or takes bytes again."""
        self.writer.stream_full = is_full
        if is_full:
            self.writer.hold()
        else:
            self.writer.resume()

    def is_choked(self) -> bool:
        """Whether the writer wants nothing more to be read."""
        return self._choked

    def end(self) -> None:
        """The session is over, as the library says it to each channel."""
        for channel in list(self.channels.values()):
            channel.process_connection_close(None)
        self.writer.close()
        self.reader.close()
        self.unanswered.close()
        if isinstance(self.hub, InlineSelector):
            self.hub.close()

    # What the hot path asks

    def add_channel(self, channel: Any) -> int:
        taken = len(self.channels)
        self.channels[taken] = channel
        return taken

    def remove_channel(self, recv_chan: int) -> None:
        del self.channels[recv_chan]

    def channel_message(self, kind: int, seq: int, message: bytes) -> bool:
        packet = packet_of(message)
        if kind in (OPEN_CONFIRMATION, OPEN_FAILURE) or kind == 90:
            self.rare.append(message)
            return True
        channel = self.channels.get(packet.get_uint32())
        if channel is None:
            raise BrokenPacket("Invalid channel number")
        channel.process_packet(kind, seq, packet)
        return True

    def connect_channel(self, destination: Destination, outcome: Outcome) -> Attempt | None:
        self.attempts.append((destination, outcome))
        return self.attempt

    def create_task(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.add(asyncio.get_running_loop().create_task(work))

    def send_channel_open_failure(self, peer: int, code: int, reason: str, lang: str) -> None:
        text = string(reason.encode()) + string(lang.encode())
        self.writer.message(bytes((OPEN_FAILURE,)) + number(peer) + number(code) + text)

    def send_packet(self, kind: int, *arguments: bytes) -> None:
        self.deferred.append(bytes((kind,)) + b"".join(arguments))

    def write_to_stream(self, data: memoryview) -> None:
        self.sent += data

    def expect(self, events: int) -> None:
        self.events.append(events)

    def stream_lost(self, error: OSError | None) -> None:
        self.lost.append(error)
        self.writer.close()

    def choke(self) -> None:
        self._choked = True

    def unchoke(self) -> None:
        self._choked = False

    def count_traffic(self) -> None:
        self.counted += self.writer.sealed + self.reader.opened
        self.writer.sealed = self.reader.opened = 0


class Listening(LeanChannel):
    """A channel that remembers what it was told."""

    __slots__ = ("heard",)

    def __init__(self, connection: FastConnection) -> None:
        super().__init__(connection)
        self.heard: list[bytes | str] = []

    @property
    def data(self) -> bytes:
        """All that was delivered."""
        return b"".join(piece for piece in self.heard if isinstance(piece, bytes))

    def opened(self) -> None:
        self.heard.append("opened")

    def refused(self, reason: Refusal) -> None:
        self.heard.append(reason.name)

    def deliver(self) -> None:
        pieces, self.pending = self.pending, None
        for piece in pieces or ():
            self.heard.append(bytes(piece))
            if not self.sent_close:
                self.consumed(len(piece))

    def peer_ended(self) -> None:
        self.heard.append("eof")

    def peer_closed(self) -> None:
        self.heard.append("closed")
        self.send_close()

    def connection_ended(self) -> None:
        self.heard.append("over")

    def resume(self) -> None:
        self.heard.append("resume")


def words(messages: list[bytes]) -> list[str]:
    """Messages by their names, for a glance."""
    names = {
        DATA: "data",
        EOF: "eof",
        CLOSE: "close",
        WINDOW_ADJUST: "adjust",
        OPEN_CONFIRMATION: "confirmation",
        OPEN_FAILURE: "failure",
        90: "open",
        99: "success",
        100: "no",
    }
    return [names.get(message[0], str(message[0])) for message in messages]


def adjusted(messages: list[bytes]) -> int:
    """Bytes that the messages allow the peer to send, in all."""
    sizes = [struct.unpack(">BII", m)[2] for m in messages if m[0] == WINDOW_ADJUST]
    return sum(sizes)
