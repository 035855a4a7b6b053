"""A channel with a protocol on it, and the stream between the two."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

import asyncssh
import pytest
from asyncssh.packet import SSHPacket

from tests.support.ssh_link import CIPHERS, Link, adjusted, number, string, words
from wraith.errors import Refusal
from wraith.protocol.ssh_reason import encode_refusal
from wraith.ssh.channel import HIGH_WATER, ChannelSession, ChannelStream
from wraith.ssh.fast_connection import FastConnection
from wraith.ssh.stream_channel import StreamChannel
from wraith.streams.relay import relay_pair
from wraith.testing import Recorder

NOWHERE = ("192.0.2.1", 80, "127.0.0.1", 0)


def stream_channel(link: Link) -> StreamChannel:
    return StreamChannel(cast(FastConnection, link))


class Opened:
    """A channel that the peer has confirmed, with its stream and what hears of it."""

    def __init__(self, link: Link, protocol: asyncio.Protocol | None = None) -> None:
        self.link = link
        self.channel = stream_channel(link)
        self.protocol = protocol if protocol is not None else Recorder()
        self.gone: list[ChannelStream] = []
        self.stream = ChannelStream(self.gone.append)
        self._opening = asyncio.create_task(self.channel.connect(self.session, *NOWHERE))

    def session(self) -> ChannelSession:
        return ChannelSession(self.stream, self.protocol)

    @property
    def recorder(self) -> Recorder:
        assert isinstance(self.protocol, Recorder)
        return self.protocol

    async def begin(self, window: int = 1 << 20, max_packet: int = 1 << 15) -> None:
        await asyncio.sleep(0)
        assert words(self.link.says()) == ["open"]
        self.confirm(window, max_packet)
        await self._opening

    def confirm(self, window: int = 1 << 20, max_packet: int = 1 << 15) -> None:
        packet = cast(SSHPacket, None)
        self.channel.process_open_confirmation(9, window, max_packet, packet)

    async def opened(self) -> None:
        await self._opening

    def hears(self, *kinds: str | bytes) -> None:
        peer, channel = self.link.peer, self.channel.number
        for kind in kinds:
            if isinstance(kind, bytes):
                self.link.hears(peer.data(channel, kind))
            else:
                self.link.hears(peer.eof(channel) if kind == "eof" else peer.close(channel))


async def opened(
    link: Link,
    window: int = 1 << 20,
    max_packet: int = 1 << 15,
    protocol: asyncio.Protocol | None = None,
) -> Opened:
    story = Opened(link, protocol)
    await story.begin(window, max_packet)
    return story


# Opening


@pytest.mark.parametrize(
    ("where", "kind", "arguments"),
    [
        (NOWHERE, b"direct-tcpip", string(b"192.0.2.1") + number(80)),
        (("/run/x",), b"direct-streamlocal@openssh.com", string(b"/run/x") + string(b"")),
    ],
)
async def test_it_asks_in_the_protocols_words(
    where: tuple[Any, ...], kind: bytes, arguments: bytes
) -> None:
    link = Link()
    channel = stream_channel(link)
    task = asyncio.create_task(channel.connect(lambda: cast(ChannelSession, None), *where))
    await asyncio.sleep(0)
    (message,) = link.says()
    assert message.startswith(b"\x5a" + string(kind) + number(channel.number))
    assert arguments in message
    link.end()
    with pytest.raises(asyncssh.ChannelOpenError):
        await task


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        (NOWHERE, b"forwarded-tcpip"),
        (("/run/x",), b"forwarded-streamlocal@openssh.com"),
    ],
)
async def test_it_tells_of_a_forwarded_connection(where: tuple[Any, ...], kind: bytes) -> None:
    link = Link()
    task = asyncio.create_task(
        stream_channel(link).accept(lambda: cast(ChannelSession, None), *where)
    )
    await asyncio.sleep(0)
    assert string(kind) in link.says()[0]
    link.end()
    with pytest.raises(asyncssh.ChannelOpenError):
        await task


async def test_a_refusal_is_raised_with_its_reason() -> None:
    link = Link()
    story = Opened(link)
    await asyncio.sleep(0)
    code, text = encode_refusal(Refusal.REFUSED)
    story.channel.process_open_failure(code, text, "")
    with pytest.raises(asyncssh.ChannelOpenError, match="ECONNREFUSED"):
        await story.opened()
    assert link.channels == {}
    link.end()


async def test_what_comes_before_the_protocol_has_its_stream_waits_for_it() -> None:
    """Confirmation, data and end may lie in one read, and the opener runs a turn later."""
    link = Link()
    story = Opened(link)
    await asyncio.sleep(0)
    story.confirm()
    story.hears(b"first", b" words", "eof")
    assert not hasattr(story.protocol, "stream")
    await story.opened()
    assert await story.recorder.until_eof() == b"first words"
    assert story.recorder.stream is story.stream
    link.end()


async def test_a_whole_conversation_may_be_over_before_the_protocol_has_its_stream() -> None:
    link = Link()
    story = Opened(link)
    await asyncio.sleep(0)
    story.confirm()
    story.hears(b"all", "eof", "close")
    await story.opened()
    assert await story.recorder.until_lost() is None
    assert story.recorder.received == b"all"
    assert story.recorder.got_eof.is_set()
    assert story.gone == [story.stream]
    assert link.channels == {}
    link.end()


async def test_a_relay_whose_other_half_is_late_loses_nothing() -> None:
    """A relay pauses its stream in `connection_made`, until the other half has one, too."""
    near, far = relay_pair()
    link = Link()
    story = Opened(link, far)
    await asyncio.sleep(0)
    story.confirm()
    story.hears(b"before the other half")
    await story.opened()
    assert words(link.says()) == ["open"]
    other = await opened(link, protocol=near)
    assert link.data_of(other.channel) == b"before the other half"
    link.end()


async def test_a_cancelled_opening_closes_the_channel_when_the_answer_comes() -> None:
    link = Link()
    story = Opened(link)
    await asyncio.sleep(0)
    story._opening.cancel()
    await asyncio.gather(story._opening, return_exceptions=True)
    link.says()
    story.confirm()
    assert words(link.says()) == ["close"]
    story.hears("close")
    assert link.channels == {}
    link.end()


async def test_an_opening_cancelled_in_the_turn_of_its_answer_closes_the_channel() -> None:
    link = Link()
    story = Opened(link)
    await asyncio.sleep(0)
    link.says()
    story.confirm()
    story._opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await story._opening
    assert words(link.says()) == ["close"]
    link.end()


async def test_a_session_that_ends_in_the_turn_of_the_answer_is_a_failure() -> None:
    link = Link()
    story = Opened(link)
    await asyncio.sleep(0)
    story.confirm()
    link.end()
    with pytest.raises(asyncssh.ChannelOpenError):
        await story.opened()


# Opening, from the peer's side


async def answered(link: Link, session: ChannelSession | Awaitable[ChannelSession]) -> Any:
    channel = stream_channel(link)
    channel.set_inbound_peer_names("secret.example", 1)
    channel.process_open(9, 1 << 20, 1 << 15, session)
    await asyncio.gather(*link.tasks)
    return channel


async def test_the_peers_channel_gets_the_session_that_was_found_for_it() -> None:
    for later in (False, True):
        link, recorder = Link(), Recorder()
        session = ChannelSession(ChannelStream(lambda _stream: None), recorder)

        async def find(found: ChannelSession = session) -> ChannelSession:
            return found

        channel = await answered(link, find() if later else session)
        assert words(link.says()) == ["confirmation"]
        link.hears(link.peer.data(channel.number, b"hello"))
        assert recorder.received == b"hello"
        link.end()


async def test_the_peer_hears_why_there_is_no_session() -> None:
    link = Link()

    async def refuse() -> ChannelSession:
        raise asyncssh.ChannelOpenError(*encode_refusal(Refusal.PROHIBITED))

    await answered(link, refuse())
    assert words(link.says()) == ["failure"]
    assert link.channels == {}
    link.end()


async def test_a_refusal_after_the_end_of_the_session_is_told_to_nobody() -> None:
    link = Link()
    over = asyncio.Event()

    async def refuse_late() -> ChannelSession:
        await over.wait()
        raise asyncssh.ChannelOpenError(*encode_refusal(Refusal.PROHIBITED))

    channel = stream_channel(link)
    channel.process_open(9, 1 << 20, 1 << 15, refuse_late())
    await asyncio.sleep(0)
    for each in list(link.channels.values()):
        each.process_connection_close(None)
    over.set()
    await asyncio.gather(*link.tasks)
    assert link.says() == []
    link.end()


# Bytes


@pytest.mark.parametrize("cipher", CIPHERS)
async def test_writes_of_any_size_are_cut_to_packets_and_to_the_window(cipher: bytes) -> None:
    link = Link(cipher)
    story = await opened(link, window=100_000, max_packet=1000)
    payload = bytes(n % 251 for n in range(150_000))
    story.stream.write(payload)
    messages = link.says()
    assert max(map(len, messages)) == 1009
    assert link.data_of(story.channel, messages) == payload[:100_000]
    assert story.stream.get_write_buffer_size() == 50_000
    link.hears(link.peer.adjust(story.channel.number, 70_000))
    assert link.data_of(story.channel) == payload[100_000:]
    link.end()


async def test_a_writer_is_paused_and_resumed_by_the_peers_window() -> None:
    link = Link()
    story = await opened(link, window=0)
    story.stream.write(b"x" * (HIGH_WATER + 1))
    assert not story.recorder.writable.is_set()
    link.hears(link.peer.adjust(story.channel.number, HIGH_WATER))
    assert story.recorder.writable.is_set()
    assert story.stream.get_write_buffer_size() == 1
    link.end()


async def test_marks_that_are_lowered_pause_at_once() -> None:
    link = Link()
    story = await opened(link, window=0)
    story.stream.write(b"x" * 100)
    assert story.recorder.writable.is_set()
    story.stream.set_write_buffer_limits(high=50)
    assert not story.recorder.writable.is_set()
    assert story.stream.get_write_buffer_limits() == (HIGH_WATER // 4, HIGH_WATER)
    link.end()


@pytest.mark.parametrize("obstacle", ["link", "key exchange"])
async def test_what_is_written_while_nothing_may_be_sent_follows_later(obstacle: str) -> None:
    link = Link()
    story = await opened(link)
    hold = link.full if obstacle == "link" else link.key_exchange
    hold(True)
    story.stream.write(b"later")
    assert link.says() == []
    hold(False)
    assert link.data_of(story.channel) == b"later"
    link.end()


async def test_the_full_link_pauses_the_writer_too() -> None:
    link = Link()
    story = await opened(link)
    story.stream.set_link_full(True)
    assert not story.recorder.writable.is_set()
    story.stream.set_link_full(False)
    assert story.recorder.writable.is_set()
    link.end()


async def test_a_paused_reader_keeps_no_more_than_the_window_and_in_one_piece() -> None:
    link = Link()
    story = await opened(link)
    story.stream.pause_reading()
    story.channel.window = story.channel.window_size = 1000
    for _ in range(1000):
        story.hears(b"", b"x")
    assert story.recorder.received == b""
    assert len(story.channel._kept) == 1000
    with pytest.raises(Exception, match="out of bounds"):
        story.hears(b"y")
    link.reader.close()
    assert adjusted(link.says()) == 0, "what nobody has read is not asked for again"
    story.stream.resume_reading()
    assert story.recorder.received == b"x" * 1000
    assert adjusted(link.says()) == 1000
    link.end()


async def test_a_reader_may_pause_between_two_pieces() -> None:
    class OneAtATime(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.stream.pause_reading()

    link = Link()
    story = await opened(link, protocol=OneAtATime())
    story.stream.pause_reading()
    story.hears(b"a" * HIGH_WATER, b"b" * HIGH_WATER, "eof")
    story.stream.resume_reading()
    assert story.recorder.received == b"a" * HIGH_WATER
    assert not story.recorder.got_eof.is_set()
    story.stream.resume_reading()
    assert story.recorder.received == b"a" * HIGH_WATER + b"b" * HIGH_WATER
    story.stream.resume_reading()
    assert story.recorder.got_eof.is_set()
    link.end()


async def test_empty_data_is_not_news() -> None:
    class Picky(Recorder):
        def data_received(self, data: bytes) -> None:
            assert data
            super().data_received(data)

    link = Link()
    story = await opened(link, protocol=Picky())
    story.hears(b"", b"x", b"")
    assert story.recorder.received == b"x"
    assert not story.stream.is_closing()
    link.end()


# Endings


async def test_a_half_close_lets_the_peer_answer() -> None:
    link = Link()
    story = await opened(link)
    story.stream.write(b"question")
    story.stream.write_eof()
    story.stream.write_eof()
    assert words(link.says()) == ["data", "eof"]
    with pytest.raises(RuntimeError):
        story.stream.write(b"more")
    story.hears(b"answer", "eof")
    assert await story.recorder.until_eof() == b"answer"
    story.hears("close")
    assert await story.recorder.until_lost() is None
    assert words(link.says()) == ["close"]
    link.end()


async def test_a_close_sends_what_was_written_and_an_end_before_it() -> None:
    link = Link()
    story = await opened(link, window=3)
    story.stream.write(b"012345")
    story.stream.close()
    story.stream.close()
    story.stream.write(b"dropped")
    assert story.stream.is_closing()
    assert words(link.says()) == ["data"]
    link.hears(link.peer.adjust(story.channel.number, 3))
    await asyncio.sleep(0)
    assert words(link.says()) == ["data", "eof", "close"]
    story.hears(b"nobody reads this", "close")
    assert await story.recorder.until_lost() is None
    assert story.recorder.received == b""
    link.end()


async def test_an_abort_closes_without_an_end() -> None:
    link = Link()
    story = await opened(link, window=0)
    story.stream.write(b"lost")
    story.stream.abort()
    assert words(link.says()) == ["close"]
    story.hears("eof", "close")
    assert await story.recorder.until_lost() is None
    assert link.channels == {}
    story.stream.write(b"long after")
    story.stream.set_write_buffer_limits(1)
    assert story.stream.get_write_buffer_size() == 0
    link.end()


async def test_a_peer_that_closes_without_an_end_is_told_as_a_reset() -> None:
    link = Link()
    story = await opened(link)
    story.hears(b"partial", "close")
    assert isinstance(await story.recorder.until_lost(), ConnectionResetError)
    assert story.recorder.received == b"partial"
    assert words(link.says()) == ["close"]
    link.end()


async def test_a_peer_that_closes_is_heard_out_by_a_paused_reader() -> None:
    link = Link()
    story = await opened(link)
    story.stream.pause_reading()
    story.hears(b"last words", "eof", "close")
    assert not story.recorder.lost.done()
    story.stream.resume_reading()
    assert await story.recorder.until_lost() is None
    assert story.recorder.received == b"last words"
    link.end()


async def test_the_end_of_the_session_is_told_as_a_reset() -> None:
    link = Link()
    story = await opened(link)
    link.end()
    assert isinstance(await story.recorder.until_lost(), ConnectionResetError)
    assert story.channel.is_closing()
    assert story.gone == [story.stream]


async def test_a_protocol_that_raises_ends_its_channel_and_no_other() -> None:
    class Faulty(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    link = Link()
    faulty = await opened(link, protocol=Faulty())
    other = await opened(link)
    link.hears(
        link.peer.data(faulty.channel.number, b"boom")
        + link.peer.data(other.channel.number, b"fine")
    )
    assert other.recorder.received == b"fine"
    assert words(link.says()) == ["close"]
    assert faulty.stream.is_closing()
    link.end()


async def test_a_protocol_that_does_not_keep_its_half_open_is_closed_at_the_end() -> None:
    class Whole(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            return False

    link = Link()
    story = await opened(link, protocol=Whole())
    story.hears("eof")
    assert words(link.says()) == ["eof", "close"]
    link.end()


# The stream, on a channel of the library's


class LibraryChannel:
    """Delivers what it has the moment that it may."""

    def __init__(self, session: ChannelSession) -> None:
        self._session = session
        self.calls: list[str] = []

    def set_write_buffer_limits(self, *_marks: int) -> None:
        self.calls.append("limits")

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")
        self._session.data_received(b"early", None)

    def abort(self) -> None:
        self.calls.append("abort")


async def test_the_librarys_channel_delivers_nothing_until_the_protocol_has_its_stream() -> None:
    recorder = Recorder()
    stream = ChannelStream(lambda _stream: None)
    session = ChannelSession(stream, recorder)
    channel = LibraryChannel(session)
    session.connection_made(cast(Any, channel))
    assert channel.calls == ["limits", "pause", "resume"]
    assert recorder.stream is stream
    assert recorder.received == b"early"


async def test_the_librarys_channel_is_not_resumed_over_a_protocol_that_paused_it() -> None:
    class Pausing(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.stream.pause_reading()

    recorder = Pausing()
    session = ChannelSession(ChannelStream(lambda _stream: None), recorder)
    channel = LibraryChannel(session)
    session.connection_made(cast(Any, channel))
    assert "resume" not in channel.calls
    assert recorder.received == b""


def test_a_stream_introduces_itself_and_knows_nothing_of_its_destination() -> None:
    stream = ChannelStream(lambda _stream: None)
    assert repr(stream) == "<ChannelStream opening received_eof=False>"
    assert stream.get_extra_info("peername", "nothing") == "nothing"
    assert stream.can_write_eof()
    assert stream.get_write_buffer_size() == 0
    stream.close()
    assert stream.is_closing()
    assert not stream.is_reading()
