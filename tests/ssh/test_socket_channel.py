"""A channel and a bare socket: whatever one of them does, the other does."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from asyncssh.packet import SSHPacket

from tests.support.sockets import read_all, reset, small_buffers, tcp_pair, was_reset
from tests.support.ssh_link import (
    CIPHERS,
    Link,
    adjusted,
    number,
    string,
    words,
)
from wraith.dialing.base import Spliceable
from wraith.errors import Refusal
from wraith.protocol.ssh_reason import OpenFailure, encode_refusal
from wraith.ssh.fast_connection import FastConnection
from wraith.ssh.lean_channel import MOST_PACKETS_A_READ
from wraith.ssh.packet_reader import BrokenPacket
from wraith.ssh.socket_channel import SocketChannel
from wraith.streams.deadlines import Deadlines
from wraith.values.address import TcpDestination

PATIENCE = 10.0


def until(link: Link, done: Callable[[], bool]) -> None:
    """Turn the selector until something has happened."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it never happened"
        link.turn()


@contextmanager
def relayed(
    window: int = 1 << 20, max_packet: int = 1 << 18, cipher: bytes = CIPHERS[0]
) -> Iterator[tuple[Link, SocketChannel, socket.socket]]:
    """An open channel on a socket; the socket's other end is the test's."""
    link = Link(cipher)
    with tcp_pair() as (near, far):
        channel = link.open(lambda link: SocketChannel(link, Owner()), window, max_packet)
        channel.relay(socket.socket(fileno=near.detach()))
        yield link, channel, far
        if channel.connection is not None and link.channels:
            link.end()
        else:
            link.writer.close()
            link.hub.close()  # type: ignore[attr-defined]


class Owner:
    """Remembers what became of the channel that it asked for."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def spliced(self, channel: Spliceable) -> None:
        self.heard.append(channel)

    def not_spliced(self, reason: Refusal | None) -> None:
        self.heard.append(reason)


def asked_for(link: Link, owner: Owner) -> SocketChannel:
    channel = SocketChannel(cast(FastConnection, link), owner)
    channel.send_open(b"direct-tcpip", string(b"192.0.2.1"), number(80))
    return channel


def confirm(channel: SocketChannel, window: int = 1 << 20, max_packet: int = 1 << 15) -> None:
    channel.process_open_confirmation(9, window, max_packet, cast(SSHPacket, None))


# Bytes


@pytest.mark.parametrize("cipher", CIPHERS)
def test_bytes_go_both_ways(cipher: bytes) -> None:
    with relayed(cipher=cipher) as (link, channel, far):
        link.hears(link.peer.data(channel.number, b"to the socket"))
        assert far.recv(100) == b"to the socket"
        far.sendall(b"to the channel")
        until(link, lambda: channel.send_window < 1 << 20)
        assert link.data_of(channel) == b"to the channel"


def test_pieces_of_one_turn_are_sent_together_also_when_there_are_many() -> None:
    for count in (2, 31, 200):
        with relayed() as (link, channel, far):
            pieces = [bytes([n]) * 5 for n in range(count)]
            link.hears(b"".join(link.peer.data(channel.number, piece) for piece in pieces))
            assert far.recv(100_000) == b"".join(pieces)


def test_a_peer_of_small_packets_gets_small_packets() -> None:
    with relayed(max_packet=100) as (link, channel, far):
        far.sendall(b"z" * 1000)
        until(link, lambda: channel.send_window == (1 << 20) - 1000)
        messages = link.says()
        assert [len(message) - 9 for message in messages] == [100] * 10


def test_a_peer_of_tiny_packets_does_not_hold_the_loop_up() -> None:
    with relayed(max_packet=1) as (link, channel, far):
        far.sendall(b"z" * 10_000)
        link.turn()
        link.turn()
        assert len(link.says()) <= 4 * MOST_PACKETS_A_READ
        until(link, lambda: channel.send_window == (1 << 20) - 10_000)


def test_no_more_is_read_than_the_window_allows_and_an_adjust_goes_on() -> None:
    with relayed(window=10) as (link, channel, far):
        far.sendall(b"0123456789abcdef")
        until(link, lambda: channel._paused)
        assert link.data_of(channel) == b"0123456789"
        link.hears(link.peer.adjust(channel.number, 3))
        until(link, lambda: channel._paused)
        assert link.data_of(channel) == b"abc"
        link.hears(link.peer.adjust(channel.number, 100))
        until(link, lambda: channel.send_window == 97)
        assert link.data_of(channel) == b"def"


def test_an_adjust_that_comes_while_the_link_is_full_is_not_forgotten() -> None:
    """The channel waits for its window; when that comes, it must wait for the link."""
    with relayed(window=4) as (link, channel, far):
        far.sendall(b"0123456789")
        until(link, lambda: channel._paused)
        link.full(True)
        link.hears(link.peer.adjust(channel.number, 100))
        link.full(False)
        until(link, lambda: channel.send_window == 94)
        assert link.data_of(channel) == b"0123456789"


def test_nothing_is_read_from_the_socket_during_a_key_exchange() -> None:
    with relayed() as (link, channel, far):
        link.key_exchange(True)
        far.sendall(b"later")
        until(link, lambda: channel._paused)
        link.turn()
        assert link.says() == []
        link.key_exchange(False)
        until(link, lambda: channel.send_window < 1 << 20)
        assert link.data_of(channel) == b"later"


def test_control_messages_of_a_key_exchange_are_left_to_the_library_to_keep() -> None:
    with relayed() as (link, channel, far):
        link.key_exchange(True)
        link.hears(link.peer.eof(channel.number), link.peer.close(channel.number))
        assert words(link.deferred) == ["close"]
        assert read_all(far) == b""
        assert link.channels == {}


def test_a_paused_socket_leaves_the_poll_so_that_a_hang_up_does_not_spin() -> None:
    with relayed(window=4) as (link, channel, far):
        far.sendall(b"0123")
        until(link, lambda: channel.send_window == 0)
        far.sendall(b"more")
        until(link, lambda: channel._paused)
        far.shutdown(socket.SHUT_RDWR)
        fd = channel._fd
        assert fd not in link.hub._hot  # type: ignore[attr-defined]
        assert link.hub._epoll.poll(0) == []  # type: ignore[attr-defined]


# A slow socket


def kept(channel: SocketChannel) -> int:
    return len(channel._unsent or b"")


def flooded(link: Link, channel: SocketChannel) -> bytes:
    """Send until the socket takes no more."""
    sent = bytearray()
    while channel._unsent is None:
        piece = bytes([len(sent) % 251]) * 30_000
        link.hears(link.peer.data(channel.number, piece))
        sent += piece
    return bytes(sent)


def test_what_a_slow_socket_does_not_take_is_kept_within_the_window_and_arrives() -> None:
    with relayed() as (link, channel, far):
        assert channel._sock is not None
        small_buffers(channel._sock, far)
        channel.window_size = channel.window = 200_000
        sent = flooded(link, channel)
        sent += b"+" * channel.window
        link.hears(link.peer.data(channel.number, b"+" * channel.window))
        assert kept(channel) <= channel.window_size
        with pytest.raises(BrokenPacket, match="out of bounds"):
            link.hears(link.peer.data(channel.number, b"+"))
        # The session would be over by now; this one may go on to show that nothing was lost.
        link.reader.close()
        received = bytearray()
        far.settimeout(0.001)
        while len(received) < len(sent):
            link.turn()
            try:
                received += far.recv(1 << 20)
            except TimeoutError:
                continue
        assert bytes(received) == sent
        assert not kept(channel)
        assert adjusted(link.says()) > 0


def test_a_million_tiny_pieces_cost_no_more_than_what_is_in_them() -> None:
    with relayed() as (link, channel, far):
        assert channel._sock is not None
        small_buffers(channel._sock, far)
        flooded(link, channel)
        assert isinstance(channel._unsent, bytearray)
        before = kept(channel)
        burst = b"".join(link.peer.data(channel.number, b"") for _ in range(1000))
        burst += b"".join(link.peer.data(channel.number, b"1") for _ in range(1000))
        link.hears(burst)
        assert kept(channel) <= before + 1000


def test_the_end_waits_for_the_last_byte() -> None:
    with relayed() as (link, channel, far):
        assert channel._sock is not None
        small_buffers(channel._sock, far)
        sent = flooded(link, channel)
        link.hears(link.peer.eof(channel.number), link.peer.close(channel.number))
        assert words(link.says())[-1:] == ["close"]
        received = bytearray()
        far.settimeout(0.001)
        while True:
            if channel._sock is not None:
                link.turn()
            try:
                piece = far.recv(1 << 20)
            except TimeoutError:
                continue
            if not piece:
                break
            received += piece
        assert bytes(received) == sent
        assert link.channels == {}


def test_a_half_close_waits_for_the_last_byte_too_and_the_answer_still_comes() -> None:
    with relayed() as (link, channel, far):
        assert channel._sock is not None
        small_buffers(channel._sock, far)
        sent = flooded(link, channel)
        link.hears(link.peer.eof(channel.number))
        received = bytearray()
        far.settimeout(0.001)
        while True:
            link.turn()
            try:
                piece = far.recv(1 << 20)
            except TimeoutError:
                continue
            if not piece:
                break
            received += piece
        assert bytes(received) == sent
        link.says()
        far.sendall(b"answer")
        until(link, lambda: channel.send_window < 1 << 20)
        assert link.data_of(channel) == b"answer"
        far.close()
        until(link, lambda: channel.sent_close)
        assert words(link.says()) == ["eof", "close"]


def test_a_slow_socket_that_breaks_cuts_the_channel_short() -> None:
    with relayed() as (link, channel, far):
        assert channel._sock is not None
        small_buffers(channel._sock, far)
        flooded(link, channel)
        reset(far)
        until(link, lambda: channel._sock is None)
        assert words(link.says())[-1] == "close"
        assert channel._unsent is None


# Endings


def test_half_closes_are_carried_both_ways() -> None:
    with relayed() as (link, channel, far):
        far.sendall(b"question")
        far.shutdown(socket.SHUT_WR)
        until(link, lambda: channel.sent_eof)
        assert words(link.says()) == ["data", "eof"]
        link.hears(link.peer.data(channel.number, b"answer"), link.peer.eof(channel.number))
        assert read_all(far) == b"answer"
        assert words(link.says()) == ["close"]
        assert channel.number in link.channels, "the peer has not closed yet"
        link.hears(link.peer.close(channel.number))
        assert link.channels == {}
        assert link.windows.promised == 0


def test_the_peer_may_end_first() -> None:
    with relayed() as (link, channel, far):
        link.hears(link.peer.eof(channel.number))
        assert read_all(far) == b""
        far.sendall(b"still")
        until(link, lambda: channel.send_window < 1 << 20)
        far.close()
        until(link, lambda: channel.sent_close)
        assert words(link.says()) == ["data", "eof", "close"]


def test_a_channel_that_closes_without_an_end_is_a_reset_on_the_socket() -> None:
    with relayed() as (link, channel, far):
        link.hears(link.peer.data(channel.number, b"partial"), link.peer.close(channel.number))
        assert was_reset(far)
        assert words(link.says()) == ["close"]
        assert link.channels == {}


def test_a_socket_that_is_reset_closes_the_channel_without_an_end() -> None:
    with relayed() as (link, channel, far):
        reset(far)
        until(link, lambda: channel._sock is None)
        assert words(link.says()) == ["close"]
        link.hears(link.peer.data(channel.number, b"on its way"), link.peer.close(channel.number))
        assert link.channels == {}


def test_a_socket_found_broken_while_it_is_written_closes_the_channel() -> None:
    with relayed() as (link, channel, far):
        reset(far)
        for _ in range(2):
            link.hears(link.peer.data(channel.number, b"x"))
        assert channel._sock is None
        assert words(link.says()) == ["close"]


def test_the_end_of_the_session_resets_the_socket() -> None:
    with relayed() as (link, channel, far):
        link.end()
        assert was_reset(far)
        assert repr(channel) == "<SocketChannel gone>"
        assert link.windows.promised == 0


def test_a_goodbye_leaves_the_channel_to_the_end_of_the_session() -> None:
    with relayed() as (link, channel, _far):
        channel.close()
        assert link.says() == []


# Opening, from our side


def test_the_owner_hears_of_the_channel_and_brings_its_early_bytes() -> None:
    link, owner = Link(), Owner()
    channel = asked_for(link, owner)
    link.unanswered.discard(channel)
    assert repr(channel) == "<SocketChannel opening>"
    confirm(channel)
    assert owner.heard == [channel]
    assert repr(channel) == "<SocketChannel open>"
    with tcp_pair() as (near, far):
        channel.relay(socket.socket(fileno=near.detach()), b"early")
        far.sendall(b" and late")
        until(link, lambda: channel.send_window == (1 << 20) - 14)
        assert link.data_of(channel) == b"early and late"
        link.end()


def test_an_end_that_came_early_is_passed_on_after_the_bytes() -> None:
    for early in (b"", b"all of it"):
        link = Link()
        channel = asked_for(link, Owner())
        confirm(channel)
        with tcp_pair() as (near, far):
            channel.relay(socket.socket(fileno=near.detach()), early, ended=True)
            assert words(link.says())[1:] == (["data"] if early else []) + ["eof"]
            link.hears(link.peer.data(channel.number, b"ok"), link.peer.eof(channel.number))
            assert read_all(far) == b"ok"
            link.end()


@pytest.mark.parametrize("obstacle", ["link", "key exchange", "window"])
def test_early_bytes_wait_like_any_others(obstacle: str) -> None:
    link = Link()
    channel = asked_for(link, Owner())
    link.says()
    confirm(channel, window=4 if obstacle == "window" else 1 << 20)
    if obstacle == "link":
        link.full(True)
    elif obstacle == "key exchange":
        link.key_exchange(True)
    with tcp_pair() as (near, far):
        channel.relay(socket.socket(fileno=near.detach()), b"0123456789", ended=True)
        assert link.data_of(channel) == (b"0123" if obstacle == "window" else b"")
        if obstacle == "link":
            link.full(False)
        elif obstacle == "key exchange":
            link.key_exchange(False)
        else:
            link.hears(link.peer.adjust(channel.number, 3))
            assert link.data_of(channel) == b"456"
            link.hears(link.peer.adjust(channel.number, 300))
        messages = link.says()
        assert words(messages) == ["data", "eof"]
        assert messages[0].endswith(b"789")
        link.end()
        assert was_reset(far)


def test_a_refusal_reaches_the_owner_with_its_reason() -> None:
    link, owner = Link(), Owner()
    channel = asked_for(link, owner)
    code, text = encode_refusal(Refusal.HOST_UNREACHABLE)
    channel.process_open_failure(code, text, "")
    assert owner.heard == [Refusal.HOST_UNREACHABLE]
    assert link.channels == {}
    channel.process_open_failure(code, text, "")
    assert owner.heard == [Refusal.HOST_UNREACHABLE]
    link.end()


def test_a_second_answer_is_a_protocol_error() -> None:
    link = Link()
    channel = asked_for(link, Owner())
    confirm(channel)
    with pytest.raises(Exception, match="not being opened"):
        confirm(channel)
    with pytest.raises(Exception, match="not being opened"):
        channel.process_open_failure(2, "", "")
    link.end()


def test_an_abandoned_channel_is_closed_as_soon_as_it_opens() -> None:
    link, owner = Link(), Owner()
    channel = asked_for(link, owner)
    channel.abandon()
    assert words(link.says()) == ["open"]
    confirm(channel)
    assert owner.heard == []
    assert words(link.says()) == ["close"]
    link.hears(link.peer.close(channel.number))
    assert link.channels == {}
    link.end()


def test_a_channel_may_be_abandoned_when_it_is_open() -> None:
    link, owner = Link(), Owner()
    channel = asked_for(link, owner)
    link.says()
    confirm(channel)
    channel.abandon()
    assert words(link.says()) == ["close"]
    link.end()


def test_an_answer_that_never_comes_is_told_as_a_time_out_and_one_too_late_is_closed() -> None:
    link, owner = Link(), Owner()
    channel = asked_for(link, owner)
    link.says()
    channel.too_late()
    channel.too_late()
    assert owner.heard == [Refusal.TIMED_OUT]
    confirm(channel)
    assert owner.heard == [Refusal.TIMED_OUT]
    assert words(link.says()) == ["close"]
    link.end()


def test_the_owner_of_an_unanswered_channel_hears_of_the_end_of_the_session() -> None:
    link, owner = Link(), Owner()
    asked_for(link, owner)
    link.end()
    assert owner.heard == [None]


async def test_deadlines_and_channels_work_together() -> None:
    link, owner = Link(), Owner()
    link.unanswered = Deadlines(0.01)
    link.unanswered.add(asked_for(link, owner))
    async with asyncio.timeout(PATIENCE):
        while not owner.heard:
            await asyncio.sleep(0.01)
    assert owner.heard == [Refusal.TIMED_OUT]
    link.end()


# Opening, from the peer's side


class Cancelled:
    def __init__(self) -> None:
        self.times = 0

    def cancel(self) -> None:
        self.times += 1


def asked_by_the_peer(link: Link) -> SocketChannel:
    channel = SocketChannel(cast(FastConnection, link))
    channel.process_open(5, 1 << 20, 1 << 15, TcpDestination("192.0.2.1", 80))
    return channel


def test_the_peer_hears_of_a_connection_that_was_made() -> None:
    link = Link()
    channel = asked_by_the_peer(link)
    ((destination, outcome),) = link.attempts
    assert destination == TcpDestination("192.0.2.1", 80)
    with tcp_pair() as (near, far):
        outcome.connected(socket.socket(fileno=near.detach()))
        confirmation = link.says()
        assert words(confirmation) == ["confirmation"]
        window = int.from_bytes(confirmation[0][9:13], "big")
        assert window == channel.window == channel.window_size
        far.sendall(b"banner")
        until(link, lambda: channel.send_window < 1 << 20)
        assert link.data_of(channel) == b"banner"
        link.end()


def test_the_peer_hears_why_there_is_no_connection() -> None:
    link = Link()
    channel = asked_by_the_peer(link)
    channel.failed(Refusal.REFUSED)
    failure = link.says()
    assert words(failure) == ["failure"]
    assert failure[0][5:9] == number(OpenFailure.CONNECT_FAILED)
    assert b"ECONNREFUSED" in failure[0]
    assert link.channels == {}
    assert link.windows.promised == 0
    channel.failed(Refusal.REFUSED)
    assert link.says() == []
    link.end()


def test_the_end_of_the_session_gives_the_attempt_up() -> None:
    link = Link()
    attempt = link.attempt = Cancelled()
    channel = asked_by_the_peer(link)
    link.end()
    assert attempt.times == 1
    with tcp_pair() as (near, far):
        channel.connected(socket.socket(fileno=near.detach()))  # it was on its way already
        assert read_all(far) == b""


def test_a_selector_that_watches_no_more_ends_that_channel_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = Link()
    channel = asked_for(link, Owner())
    link.says()
    confirm(channel)

    def refuse(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "too many watches")

    monkeypatch.setattr(link.hub, "add", refuse)
    with tcp_pair() as (near, far):
        channel.relay(socket.socket(fileno=near.detach()))
        assert was_reset(far)
    assert words(link.says()) == ["close"]
    link.end()
