"""The hot way out: sealed whole, in order, and without a byte of anybody else's."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ssh_link import CIPHERS, Link, Listening, number, string, words
from wraith.ssh import packet_writer
from wraith.ssh.lean_channel import CLOSE, DATA
from wraith.ssh.packet_writer import MAX_PACKET, SMALL, padding_for
from wraith.streams.hub import BUFFER_SIZE, READ, WRITE

SECRET = b"\xee"


def is_blocked(link: Link) -> bool:
    return link.writer.blocked


def is_ready(link: Link) -> bool:
    return link.writer.ready


def put(link: Link, data: bytes) -> None:
    """As a channel receives from its socket: into the scratch buffer, full of others' secrets."""
    link.hub.scratch[:] = SECRET * len(link.hub.scratch)
    link.writer.inbox[: len(data)] = data


@pytest.mark.parametrize("cipher", CIPHERS)
@settings(max_examples=40)
@given(
    sizes=st.lists(
        st.one_of(
            st.integers(0, 80),
            st.sampled_from([SMALL - 1, SMALL, SMALL + 1, 32768, MAX_PACKET]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_data_of_any_size_arrives_and_the_padding_tells_nothing(
    cipher: bytes, sizes: list[int]
) -> None:
    link = Link(cipher)
    expected = []
    for n, size in enumerate(sizes):
        data = bytes([n + 1]) * size
        put(link, data)
        link.writer.data(n, size)
        expected.append(bytes((DATA,)) + number(n) + string(data))
    assert link.says() == expected
    assert not any(SECRET in padding for padding in link.peer.paddings)
    link.end()


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("most", [1, 5, 100, 4000, 32768])
def test_one_read_may_become_many_packets_and_none_of_it_is_lost(cipher: bytes, most: int) -> None:
    link = Link(cipher)
    data = bytes(n % 251 for n in range(min(60 * most, 200_000)))
    put(link, data)
    for offset in range(0, len(data), most):
        link.writer.data_slice(offset, 3, min(most, len(data) - offset))
    messages = link.says()
    assert b"".join(message[9:] for message in messages) == data
    assert all(len(message) <= 9 + most for message in messages)
    assert not any(padding.strip(b"\0") for padding in link.peer.paddings)
    link.end()


@pytest.mark.parametrize("cipher", CIPHERS)
def test_messages_data_and_what_the_library_sealed_keep_their_order(cipher: bytes) -> None:
    link = Link(cipher)
    writer = link.writer
    put(link, b"one")
    writer.data(1, 3)
    writer.control(CLOSE, 1)
    writer.message(b"\x62four")
    padding = padding_for(7, 16)
    body = bytes((padding,)) + b"\x50hello" + bytes(padding)
    cipher_object = writer.cipher
    assert cipher_object is not None
    sealed, tag = cipher_object.encrypt_packet(writer.seq, number(len(body)), body)  # type: ignore[attr-defined]
    writer.raw(sealed + tag)
    writer.seq += 1
    writer.control(CLOSE, 2)
    messages = link.says()
    assert words(messages) == ["data", "close", "98", "80", "close"]
    assert messages[3] == b"\x50hello"
    link.end()


@pytest.mark.parametrize(("size", "block"), [(n, b) for n in range(1, 70) for b in (8, 16)])
def test_padding_is_at_least_four_bytes_and_fills_the_block(size: int, block: int) -> None:
    padding = padding_for(size, block)
    assert 4 <= padding < 4 + block
    assert (size + padding) % block == 0


# A bare socket below


class SlowSocket:
    """Takes so many bytes, then no more until it is told to."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.taken = bytearray()
        self.error: OSError | None = None

    def send(self, data: memoryview, _flags: int = 0) -> int:
        if self.error is not None:
            raise self.error
        if not self.takes:
            raise BlockingIOError
        count = min(self.takes, len(data))
        self.taken += data[:count]
        self.takes -= count
        return count


def on_socket(takes: int) -> tuple[Link, SlowSocket]:
    link, sock = Link(), SlowSocket(takes)
    link.writer.use_socket(sock)  # type: ignore[arg-type]
    return link, sock


def flush(link: Link) -> None:
    while link.hub.dirty:
        link.hub.dirty.pop().flush()


def test_a_full_socket_stops_the_channels_and_goes_on_where_it_was() -> None:
    link, sock = on_socket(100)
    channel = link.open(Listening)
    link.writer.waiting[channel] = None
    for _ in range(10):
        put(link, b"x" * 50)
        link.writer.data(1, 50)
    flush(link)
    assert is_blocked(link)
    assert not is_ready(link)
    assert link.events == [READ | WRITE]
    assert link.writer.unsent > 0
    assert channel.heard == ["opened"]
    link.writer.message(b"\x62late")
    flush(link)
    sock.takes = 1 << 20
    link.writer.writable()
    assert is_ready(link)
    assert link.events == [READ | WRITE, READ]
    assert channel.heard == ["opened", "resume"]
    messages = link.peer.read(bytes(sock.taken))
    assert words(messages) == ["data"] * 10 + ["98"]
    assert link.writer.unsent == 0
    link.end()


def test_a_socket_that_is_still_full_is_asked_again_later() -> None:
    link, sock = on_socket(10)
    link.writer.message(b"\x62x")
    flush(link)
    link.writer.writable()
    assert is_blocked(link)
    sock.takes = 1000
    link.writer.writable()
    assert not is_blocked(link)
    link.writer.writable()  # one event too many
    assert len(link.peer.read(bytes(sock.taken))) == 1
    link.end()


def test_a_broken_socket_is_told_once_and_nothing_is_kept() -> None:
    link, sock = on_socket(0)
    sock.error = OSError(errno.EPIPE, "broken pipe")
    link.writer.message(b"\x62x")
    flush(link)
    assert [error and error.errno for error in link.lost] == [errno.EPIPE]
    link.writer.message(b"\x62y")
    link.writer.raw(b"z")
    flush(link)
    assert len(link.lost) == 1
    assert link.writer._out is None
    link.end()


def test_a_peer_that_never_reads_its_answers_is_not_read_from_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else whoever asks for ever, and listens never, would fill our memory."""
    monkeypatch.setattr(packet_writer, "BACKLOG_LIMIT", BUFFER_SIZE // 2)
    link, sock = on_socket(0)
    channel = link.open(Listening)
    asked = 0
    while not link.is_choked():
        link.hears(b"".join(link.peer.request(channel.number) for _ in range(1000)))
        flush(link)
        asked += 1000
        assert link.writer.unsent < 2 * BUFFER_SIZE, "nobody stops"
    sock.takes = 1 << 30
    link.writer.writable()
    assert not link.is_choked()
    assert words(link.peer.read(bytes(sock.taken))) == ["no"] * asked
    link.end()


def test_more_than_a_buffer_in_one_turn_is_sent_without_waiting_for_its_end() -> None:
    link, sock = on_socket(1 << 30)
    for _ in range(4 * BUFFER_SIZE // 2048):
        put(link, b"y" * 2000)
        link.writer.data(1, 2000)
    assert len(sock.taken) > BUFFER_SIZE
    assert not is_blocked(link)
    flush(link)
    assert words(link.peer.read(bytes(sock.taken))) == ["data"] * (4 * BUFFER_SIZE // 2048)
    link.end()


def test_an_output_buffer_that_grew_is_not_kept_for_the_next_user() -> None:
    link, sock = on_socket(0)
    link.writer.raw(b"x" * (BUFFER_SIZE - 10))
    flush(link)
    link.writer.raw(b"y" * (2 * BUFFER_SIZE))
    sock.takes = 1 << 30
    link.writer.writable()
    assert bytes(sock.taken) == b"x" * (BUFFER_SIZE - 10) + b"y" * (2 * BUFFER_SIZE)
    assert {len(buffer) for buffer in link.hub.spare} == {BUFFER_SIZE}
    link.end()


# Who may send


def test_no_channel_sends_during_a_key_exchange() -> None:
    link = Link()
    channel = link.open(Listening)
    link.writer.waiting[channel] = None
    link.key_exchange(True)
    assert not is_ready(link)
    link.full(True)
    link.full(False)
    assert not is_ready(link), "room in the stream below does not end a key exchange"
    assert channel.heard == ["opened"]
    link.key_exchange(False)
    assert is_ready(link)
    assert channel.heard == ["opened", "resume"]
    link.end()


def test_traffic_is_counted_for_the_next_key_exchange() -> None:
    link = Link()
    put(link, b"x" * 60_000)
    link.writer.data(1, 60_000)
    link.says()
    assert link.counted == 0
    put(link, b"x" * 60_000)
    link.writer.data(1, 60_000)
    link.says()
    assert link.counted > 120_000
    link.end()


def test_with_a_real_socket_the_bytes_arrive() -> None:
    ours, theirs = socket.socketpair()
    link = Link()
    with ours, theirs:
        ours.setblocking(False)
        link.writer.use_socket(ours)
        put(link, b"hello")
        link.writer.data(4, 5)
        flush(link)
        assert link.peer.read(theirs.recv(1000)) == [bytes((DATA,)) + number(4) + string(b"hello")]
    link.end()
