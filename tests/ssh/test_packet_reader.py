"""The hot way in: whatever arrives is understood, or ends that session with a documented error."""

from __future__ import annotations

import contextlib
import itertools
import struct
from dataclasses import dataclass, field

import pytest
from asyncssh.misc import ProtocolError
from asyncssh.packet import PacketDecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.ssh_link import (
    CIPHERS,
    Link,
    Listening,
    adjusted,
    number,
    string,
)
from wraith.ssh.lean_channel import CLOSE, DATA, EOF, WINDOW_ADJUST
from wraith.ssh.packet_reader import BrokenPacket
from wraith.streams.hub import BUFFER_SIZE, SPARE_BUFFERS

CHANNELS = 3

# A message is (kind, channel, body) as a peer that keeps to the protocol may send it, and some that
# it may not: the naive twin below says what must come of it.
Message = tuple[str, int, bytes]

SIZES = st.one_of(st.integers(0, 40), st.sampled_from([2047, 2048, 2049, 32768, 70_000]))


def message() -> st.SearchStrategy[Message]:
    channels = st.integers(0, CHANNELS - 1)
    data = st.builds(lambda size, seed: bytes([seed]) * size, SIZES, st.integers(1, 255))
    short = st.binary(max_size=60)
    return st.one_of(
        st.tuples(st.just("data"), channels, data),
        st.tuples(st.just("data"), channels, data),
        st.tuples(st.just("adjust"), channels, st.integers(0, 2**32 - 1).map(number)),
        st.tuples(st.just("eof"), channels, st.just(b"")),
        st.tuples(st.just("close"), channels, st.just(b"")),
        st.tuples(st.just("request"), channels, st.just(b"")),
        st.tuples(st.just("extended"), channels, short),
        st.tuples(st.just("ignore"), channels, short),
        st.tuples(st.just("rare"), channels, short),
        st.tuples(st.just("odd padding"), channels, short),
    )


@dataclass
class NaiveChannel:
    data: bytes = b""
    ended: bool = False
    closed: bool = False
    window: int = 2 * 1024 * 1024


@dataclass
class Naive:
    """What a session comes to, worked out message by message and without a thought for speed."""

    channels: list[NaiveChannel] = field(
        default_factory=lambda: [NaiveChannel() for _ in range(CHANNELS)]
    )
    rare: list[bytes] = field(default_factory=list)
    broken: bool = False

    def hear(self, message: Message) -> None:
        kind, at, body = message
        channel = self.channels[at]
        if self.broken or kind == "ignore":
            return
        if kind == "rare":
            self.rare.append(b"\x04" + body)
        elif kind == "request":
            pass
        elif kind in ("data", "odd padding"):
            self.broken = channel.ended or len(body) > channel.window
            channel.data += b"" if self.broken else body
        elif kind == "extended":
            self.broken = channel.ended
        elif channel.closed:
            self.broken = True
        elif kind == "eof":
            channel.ended = True
        elif kind == "close":
            channel.closed = True


def sealed(link: Link, message: Message) -> bytes:
    kind, at, body = message
    peer = link.peer
    if kind == "odd padding":
        payload = bytes((DATA,)) + number(at) + string(body)
        size = 240 - (240 + 1 + len(payload)) % 16
        return peer.packet(payload, b"\xaa" * size)
    builders = {
        "data": lambda: peer.data(at, body),
        "adjust": lambda: peer.message(WINDOW_ADJUST, at, body),
        "eof": lambda: peer.eof(at),
        "close": lambda: peer.close(at),
        "request": lambda: peer.request(at),
        "extended": lambda: peer.extended(at, body),
        "ignore": lambda: peer.packet(b"\x02" + string(body)),
        "rare": lambda: peer.packet(b"\x04" + body),
    }
    return builders[kind]()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


def hear(link: Link, pieces: list[bytes]) -> bool:
    """Whether the session lived; only the documented errors may end it."""
    try:
        link.hears(*pieces)
    except (BrokenPacket, ProtocolError):
        return False
    return True


@pytest.mark.parametrize("cipher", CIPHERS)
@settings(max_examples=50)
@given(
    messages=st.lists(message(), max_size=14),
    places=st.lists(st.integers(0, 2**21), max_size=12),
)
@example(messages=[("data", 0, b"x" * 256 * 1024)] * 8, places=[1, 3, 544 * 1024])
@example(messages=[("close", 0, b""), ("data", 1, b"after")], places=[5])
def test_any_conversation_however_it_is_cut_comes_to_what_the_naive_twin_says(
    cipher: bytes, messages: list[Message], places: list[int]
) -> None:
    link, naive = Link(cipher), Naive()
    channels = [link.open(Listening) for _ in range(CHANNELS)]
    for one in messages:
        naive.hear(one)
    whole = b"".join(sealed(link, one) for one in messages)
    lived = hear(link, cut(whole, places))
    assert lived is not naive.broken
    for channel, expected in zip(channels, naive.channels, strict=True):
        assert channel.data == expected.data
        assert channel.received_eof is expected.ended
        assert channel.received_close is expected.closed
    assert [packet for packet in link.rare if packet[0] == 4] == naive.rare
    link.end()


@pytest.mark.parametrize("cipher", CIPHERS)
def test_every_byte_may_come_alone(cipher: bytes) -> None:
    link = Link(cipher)
    channels = [link.open(Listening) for _ in range(2)]
    whole = b"".join(
        [
            link.peer.data(0, b"first"),
            link.peer.packet(b"\x04debug"),
            link.peer.data(1, b"second"),
            link.peer.eof(0),
            link.peer.close(1),
        ]
    )
    link.hears(*(whole[i : i + 1] for i in range(len(whole))))
    assert channels[0].heard == ["opened", b"first", "eof"]
    assert channels[1].heard == ["opened", b"second", "closed"]
    assert link.rare == [b"\x04debug"]
    link.end()


@pytest.mark.parametrize("cipher", CIPHERS)
@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=5),
    at=st.integers(0, 10_000),
    flip=st.integers(1, 255),
    places=st.lists(st.integers(0, 5000), max_size=4),
)
def test_a_byte_changed_on_the_way_never_becomes_data(
    cipher: bytes, sizes: list[int], at: int, flip: int, places: list[int]
) -> None:
    link = Link(cipher)
    channel = link.open(Listening)
    pieces = [bytes([n + 1]) * size for n, size in enumerate(sizes)]
    packets = [link.peer.data(channel.number, piece) for piece in pieces]
    whole = bytearray(b"".join(packets))
    at %= len(whole)
    whole[at] ^= flip
    lived = hear(link, cut(bytes(whole), places))
    genuine, end = 0, 0
    for packet in packets:
        end += len(packet)
        if end <= at:
            genuine += 1
    assert channel.data == b"".join(pieces[:genuine])
    if lived:  # only a length that now asks for more bytes than came
        assert len(link.reader) == len(whole) - sum(map(len, packets[:genuine]))
    link.end()


@pytest.mark.parametrize("cipher", CIPHERS)
@settings(max_examples=40)
@given(st.binary(min_size=40, max_size=2000))
def test_noise_is_never_taken_for_a_packet(cipher: bytes, noise: bytes) -> None:
    link = Link(cipher)
    channel = link.open(Listening)
    hear(link, [noise])
    assert channel.heard == ["opened"]
    assert link.rare == []
    link.end()


@pytest.mark.parametrize("cipher", CIPHERS)
@settings(max_examples=40)
@given(payload=st.binary(min_size=1, max_size=80), padding=st.integers(0, 255))
def test_genuine_nonsense_ends_in_a_documented_error_at_worst(
    cipher: bytes, payload: bytes, padding: int
) -> None:
    """A peer with the right keys may still send any payload, with any padding length."""
    link = Link(cipher)
    channels = [link.open(Listening) for _ in range(2)]
    size = 1 + len(payload)
    body = payload + bytes(-size % 16)
    packet = bytearray(bytes((padding,)) + body)
    sealed_packet, tag = link.peer._seal.encrypt_packet(0, number(len(packet)), bytes(packet))
    # The connection turns the last of these into the second.
    with contextlib.suppress(BrokenPacket, ProtocolError, PacketDecodeError):
        link.hears(sealed_packet + tag)
    for channel in channels:
        assert len(channel.data) <= len(payload)
        assert channel.window >= 0
    link.end()


@pytest.mark.parametrize("cipher", CIPHERS)
def test_newkeys_is_as_short_as_a_packet_gets_and_left_to_the_library(cipher: bytes) -> None:
    link = Link(cipher)
    newkeys = link.peer.packet(b"\x15")
    if cipher.startswith(b"chacha"):
        assert len(newkeys) == 4 + 8 + 16
    link.hears(newkeys)
    assert link.rare == [b"\x15"]
    assert len(link.reader) == 0
    link.end()


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("length", [0, 7, 2**18 + 1025, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_anything_is_awaited(
    cipher: bytes, length: int
) -> None:
    link = Link(cipher)
    sealer = link.peer._seal
    header = number(length)
    if cipher.startswith(b"chacha"):
        header = sealer._cipher.encrypt_and_sign(header, bytes(16), bytes(8))[0][:4]
    with pytest.raises(BrokenPacket, match="length out of bounds"):
        link.hears(header + bytes(60))
    link.end()


def test_data_beyond_the_window_is_refused() -> None:
    link = Link()
    channel = link.open(Listening)
    channel.window = 10
    link.hears(link.peer.data(0, b"0123456789"))
    with pytest.raises(BrokenPacket, match="out of bounds"):
        link.hears(link.peer.data(0, b"!"))
    assert channel.data == b"0123456789"
    link.end()


def test_extended_data_counts_against_the_window_and_is_dropped() -> None:
    link = Link()
    channel = link.open(Listening)
    before = channel.window
    link.hears(link.peer.extended(0, b"x" * 1000))
    assert channel.data == b""
    assert channel.window == before - 1000
    channel.window = 5
    with pytest.raises(ProtocolError):
        link.hears(link.peer.extended(0, b"x" * 6))
    link.end()


@pytest.mark.parametrize("kind", [DATA, EOF, CLOSE, WINDOW_ADJUST])
def test_nothing_may_come_before_the_channel_is_open(kind: int) -> None:
    link = Link()
    channel = Listening(link)  # type: ignore[arg-type]
    rest = {DATA: string(b"early"), WINDOW_ADJUST: number(5)}.get(kind, b"")
    with pytest.raises((BrokenPacket, ProtocolError)):
        link.hears(link.peer.message(kind, channel.number, rest))
    assert channel.heard == []
    link.end()


@pytest.mark.parametrize("kind", [EOF, CLOSE, WINDOW_ADJUST])
def test_nothing_may_come_after_the_channel_is_closed(kind: int) -> None:
    link = Link()
    link.open(Listening)
    link.hears(link.peer.close(0))
    rest = number(5) if kind == WINDOW_ADJUST else b""
    with pytest.raises(ProtocolError):
        link.hears(link.peer.message(kind, 0, rest))
    link.end()


def test_data_after_the_end_is_refused_whichever_way_it_comes() -> None:
    link = Link()
    channel = link.open(Listening)
    link.hears(link.peer.eof(0))
    with pytest.raises(BrokenPacket, match="after its end"):
        link.hears(link.peer.data(0, b"more"))
    with pytest.raises(ProtocolError):
        channel._receive(b"more")
    link.end()


def test_a_window_is_never_wider_than_the_protocol_knows() -> None:
    """RFC 4254 section 5.2: a peer that adds too much gets no more than 2³² - 1."""
    link = Link()
    channel = link.open(Listening)
    link.hears(link.peer.adjust(0, 2**32 - 1), link.peer.adjust(0, 2**32 - 1))
    assert channel.send_window == 2**32 - 1
    link.end()


def test_what_was_consumed_is_given_back_once_it_is_half_the_window() -> None:
    link = Link()
    channel = link.open(Listening)
    half = channel.window_size // 2
    link.hears(*(link.peer.data(0, b"x" * (half // 8)) for _ in range(7)))
    assert adjusted(link.says()) == 0
    link.hears(link.peer.data(0, b"x" * (half // 8)))
    assert adjusted(link.says()) == half
    assert channel.window == channel.window_size
    link.end()


def test_a_window_grows_with_bandwidth_times_delay_and_returns_to_the_budget() -> None:
    link = Link()
    channel = link.open(Listening)
    before, budget = channel.window_size, link.windows.promised
    link.round_trip = 10.0
    link.hears(*(link.peer.data(0, b"x" * 2**17) for _ in range(before // 2**18)))
    growth = channel.window_size - before
    assert growth > 0
    assert link.windows.promised - budget == growth
    assert adjusted(link.says()) == before // 2 + growth
    channel.leave()
    assert link.windows.promised == 0
    link.end()


def holds_a_buffer(link: Link) -> bool:
    return link.reader._buffer is not None


def test_a_full_buffer_offers_room_again_since_no_room_would_look_like_the_end() -> None:
    """A `recv_into` of nothing returns 0, which is what an end-of-file returns."""
    link = Link()
    while len(link.reader) < BUFFER_SIZE:
        space = link.reader.space()
        assert len(space) > 0
        link.reader.received(len(space))
    assert len(link.reader.space()) > 0
    link.end()


def test_a_packet_that_lies_across_the_end_of_the_buffer_is_moved_and_read() -> None:
    link = Link()
    channel = link.open(Listening)
    payload = bytes(range(256)) * 800  # 204800: two and a half of them fill a buffer
    stream = b"".join(link.peer.data(0, payload) for _ in range(9))
    link.hears(*cut(stream, [BUFFER_SIZE - 1, 2 * BUFFER_SIZE - 7, 3 * BUFFER_SIZE]))
    assert channel.data == payload * 9
    link.end()


def test_buffers_are_given_back_when_nothing_is_left_in_them() -> None:
    link = Link()
    link.open(Listening)
    packet = link.peer.data(0, b"x" * 100)
    link.hears(packet[:50])
    assert holds_a_buffer(link)
    link.hears(packet[50:])
    assert not holds_a_buffer(link)
    link.says()
    assert link.writer._out is None
    assert 0 < len(link.hub.spare) <= SPARE_BUFFERS
    link.end()


def test_a_buffer_is_given_back_when_the_connection_ends_in_the_middle_of_a_packet() -> None:
    link = Link()
    link.open(Listening)
    link.hears(link.peer.data(0, b"x" * 100)[:60])
    link.reader.close()
    assert not holds_a_buffer(link)
    assert len(link.reader) == 0
    assert link.reader.work() is None
    link.end()


def test_a_download_counts_for_the_next_key_exchange_although_nothing_is_sent() -> None:
    link = Link()
    channel = link.open(Listening)
    channel.window_size = 2**31  # so that not even an adjust goes out
    link.hears(*(link.peer.data(0, b"x" * 50_000) for _ in range(4)))
    assert link.says() == []
    assert link.counted >= 150_000
    link.end()


def test_a_flood_of_tiny_packets_reuses_the_plain_buffer() -> None:
    link = Link()
    channels = [link.open(Listening) for _ in range(2)]
    big = b"b" * 256 * 1024
    burst = link.peer.data(0, big) + link.peer.data(1, big) + link.peer.data(0, b"end")
    space = bytearray(burst)
    link.reader._buffer = memoryview(bytearray(2 * BUFFER_SIZE))
    link.reader._buffer[: len(space)] = space
    link.reader.received(len(space))
    link._pump()
    assert channels[0].data == big + b"end"
    assert channels[1].data == big
    link.end()


def test_a_message_for_a_channel_that_is_not_there_is_left_to_the_library() -> None:
    link = Link()
    link.hears(link.peer.data(9, b"whose?"), link.peer.eof(9), link.peer.adjust(9, 1))
    assert [struct.unpack(">BI", packet[:5]) for packet in link.rare] == [
        (DATA, 9),
        (EOF, 9),
        (WINDOW_ADJUST, 9),
    ]
    link.end()
