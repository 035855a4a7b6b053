"""TLS as a stream: every promise of a stream, over a socket and over memory, under every loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.certificates import Made, make_certificate
from tests.support.loops import LOOPS, NewLoop, run_under
from tests.support.sockets import tcp_pair
from wraith.streams.direct import DirectReceiver
from wraith.streams.memory import memory_pair
from wraith.streams.sealing import UNREAD_ANSWERS, Handshake
from wraith.streams.socket_stream import open_socket_stream
from wraith.streams.tls_stream import FIRST_BYTES, Opening, TlsStream
from wraith.testing import PROMISES, MakePair, Recorder
from wraith.transports import as_nginx

Join = Callable[[asyncio.Protocol, asyncio.Protocol], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_certificate(tmp_path_factory.mktemp("certificates"), "localhost")


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def over_sockets(left: asyncio.Protocol, right: asyncio.Protocol) -> None:
    with tcp_pair() as (near, far):
        far.setblocking(False)
        for sock, protocol in ((near, left), (far, right)):
            await open_socket_stream(socket.socket(fileno=sock.detach()), protocol)


async def over_memory(left: asyncio.Protocol, right: asyncio.Protocol) -> None:
    memory_pair(left, right)


def pair_maker(join: Join, server: ssl.SSLContext, client: ssl.SSLContext) -> MakePair:
    async def make(
        left: asyncio.Protocol, right: asyncio.Protocol
    ) -> tuple[asyncio.Transport, asyncio.Transport]:
        secured = asyncio.Event()
        near = TlsStream(
            left, client, server_name="localhost", on_secured=lambda _stream: secured.set()
        )
        far = TlsStream(right, server)
        await join(near, far)
        await asyncio.wait_for(secured.wait(), 10)
        return near, far

    return make


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("join", [over_sockets, over_memory])
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_it_keeps_every_promise_of_a_stream(
    promise: Callable[[MakePair], Coroutine[Any, Any, None]],
    join: Join,
    version: ssl.TLSVersion,
    new_loop: NewLoop,
    certificate: Made,
) -> None:
    client = trusting()
    client.minimum_version = client.maximum_version = version
    make = pair_maker(join, certificate.server_context(), client)
    assert run_under(new_loop, promise(make)).contexts == []


# However the bytes are cut, and whatever the peer does


class Wire(asyncio.Transport):
    """The stream below, by hand: what was written is there to be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.ended: str = ""
        self.paused = False
        self.unsent = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended
        self.sent += data

    def is_open(self) -> bool:
        return not self.ended

    def take(self) -> bytes:
        sent, self.sent = bytes(self.sent), bytearray()
        return sent

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Ends:
    """Two TLS streams, each on a wire that the test carries by hand."""

    def __init__(self, server: Opening | ssl.SSLContext, client: ssl.SSLContext) -> None:
        self.near, self.far = Recorder(), Recorder()
        self.client = TlsStream(self.near, client, server_name="localhost")
        self.server = TlsStream(self.far, server)
        self.up, self.down = Wire(), Wire()
        self.server.connection_made(self.down)
        self.client.connection_made(self.up)

    def carry(self, size: int = 1 << 20) -> None:
        """Carry everything both ways, cut into pieces."""
        while self.up.sent or self.down.sent:
            for wire, stream in ((self.up, self.server), (self.down, self.client)):
                data = wire.take()
                for start in range(0, len(data), size):
                    stream.data_received(data[start : start + size])


@pytest.mark.parametrize("size", [1, 2, 5, 1000, 16401])
async def test_however_the_bytes_are_cut(certificate: Made, size: int) -> None:
    ends = Ends(certificate.server_context(), trusting())
    ends.server.write(b"said before the handshake")
    ends.carry(size)
    assert bytes(ends.near.received) == b"said before the handshake"
    payload = bytes(range(256)) * 150
    ends.client.write(payload)
    ends.server.write(payload[::-1])
    ends.client.write_eof()
    ends.carry(size)
    assert bytes(ends.far.received) == payload
    assert ends.near.received.endswith(payload[::-1])
    assert ends.far.got_eof.is_set()
    assert not ends.near.got_eof.is_set()


class Direct(Recorder, DirectReceiver):
    """Takes bytes into a buffer of its own, a few at a time."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.buffer = memoryview(bytearray(size))
        self.after_each: Callable[[], None] = lambda: None

    def get_buffer(self) -> memoryview:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.data_received(bytes(self.buffer[:count]))
        self.after_each()


@pytest.mark.parametrize("size", [1, 100, 16384, 100_000])
async def test_bytes_go_straight_into_a_buffer_of_any_size(certificate: Made, size: int) -> None:
    ends = Ends(certificate.server_context(), trusting())
    ends.far = Direct(size)
    ends.server.set_protocol(ends.far)
    payload = bytes(range(256)) * 300
    ends.carry()
    ends.client.write(payload[:1000] if size == 1 else payload)
    ends.client.write_eof()
    ends.carry()
    assert bytes(ends.far.received) == (payload[:1000] if size == 1 else payload)
    assert ends.far.got_eof.is_set()


async def test_a_receiver_that_pauses_in_the_middle_gets_the_rest_later(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    direct = ends.far = Direct(1000)
    direct.connection_made(ends.server)
    ends.server.set_protocol(direct)
    ends.carry()
    direct.after_each = lambda: ends.server.pause_reading()
    ends.client.write(b"z" * 5000)
    ends.carry()
    assert len(direct.received) == 1000
    assert ends.down.paused
    for expected in (2000, 3000):
        ends.server.resume_reading()
        await asyncio.sleep(0)
        assert len(direct.received) == expected
    successor = Recorder()
    ends.server.set_protocol(successor)
    ends.server.resume_reading()
    assert await successor.until_received(2000) == b"z" * 2000


async def test_an_end_that_came_with_the_last_bytes_waits_for_the_reader(
    certificate: Made,
) -> None:
    ends = Ends(certificate.server_context(), trusting())
    direct = ends.far = Direct(100_000)
    ends.server.set_protocol(direct)
    ends.carry()
    direct.after_each = lambda: ends.server.pause_reading()
    ends.client.write(b"last words")
    ends.client.write_eof()
    ends.carry()
    assert bytes(direct.received) == b"last words"
    assert not direct.got_eof.is_set()
    ends.server.resume_reading()
    await asyncio.sleep(0)
    assert direct.got_eof.is_set()


async def test_nothing_is_heard_after_an_abort_in_the_middle(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    direct = ends.far = Direct(100_000)
    ends.server.set_protocol(direct)
    ends.carry()
    direct.after_each = lambda: ends.server.abort()
    ends.client.write(b"last words")
    ends.client.write_eof()
    ends.carry()
    assert not direct.got_eof.is_set()
    assert ends.down.ended == "aborted"


async def test_a_protocol_may_be_replaced_while_it_receives(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    direct, successor = Direct(1000), Recorder()
    direct.after_each = lambda: ends.server.set_protocol(successor)
    ends.server.set_protocol(direct)
    ends.carry()
    ends.client.write(b"z" * 5000)
    ends.carry()
    assert (len(direct.received), len(successor.received)) == (1000, 4000)


async def test_a_half_close_loses_nothing_that_came_meanwhile(certificate: Made) -> None:
    """OpenSSL would take data after our `close_notify` for a crime."""
    ends = Ends(certificate.server_context(), trusting())
    ends.carry()
    ends.server.pause_reading()
    ends.client.write(b"q" * 40_000)
    ends.server.data_received(ends.up.take())
    ends.server.write_eof()
    ends.server.write_eof()
    ends.carry()
    assert ends.near.got_eof.is_set()
    ends.server.resume_reading()
    assert await ends.far.until_received(40_000) == b"q" * 40_000
    ends.client.write(b"more")
    ends.client.write_eof()
    ends.carry()
    assert ends.far.got_eof.is_set()
    with pytest.raises(RuntimeError, match="write_eof"):
        ends.server.write(b"late")


async def test_an_end_without_a_goodbye_is_an_error(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    ends.carry()
    assert ends.client.eof_received()
    assert ends.up.ended == "closed"
    ends.client.connection_lost(None)
    assert isinstance(ends.near.lost.result(), ssl.SSLEOFError)
    assert not ends.near.got_eof.is_set()


async def test_an_end_after_a_goodbye_is_none(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    ends.carry()
    ends.server.close()
    ends.carry()
    assert ends.near.got_eof.is_set()
    assert ends.client.eof_received()
    assert ends.up.is_open()


async def test_a_handshake_that_fails_sends_its_alert(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), ssl.create_default_context())
    ends.carry()
    assert ends.up.ended == "closed"
    assert ends.down.ended == "closed"
    for stream in (ends.client, ends.server):
        stream.connection_lost(None)
    assert isinstance(ends.near.lost.result(), ssl.SSLCertVerificationError)
    told = ends.far.lost.result()
    assert isinstance(told, ssl.SSLError)
    assert "ALERT_UNKNOWN_CA" in told.reason


async def test_who_does_not_read_gets_no_alert(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    ends.carry()
    ends.down.unsent = 1
    ends.server.data_received(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert ends.down.ended == "aborted"
    ends.server.connection_lost(None)
    assert isinstance(ends.far.lost.result(), ssl.SSLError)


async def test_bytes_that_were_changed_end_the_stream_for_a_direct_receiver_too(
    certificate: Made,
) -> None:
    ends = Ends(certificate.server_context(), trusting())
    ends.server.set_protocol(Direct(1000))
    ends.carry()
    ends.client.write(b"a genuine record")
    ends.server.data_received(ends.up.take() + b"\x17\x03\x03\x00\x20" + bytes(32))
    direct = ends.server.get_protocol()
    assert isinstance(direct, Direct)
    assert bytes(direct.received) == b"a genuine record"
    assert ends.down.ended == "closed"


async def test_what_is_said_before_the_handshake_is_bounded_and_kept(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    ends.server.write(b"x" * 70_000)
    assert not ends.far.writable.is_set()
    assert ends.server.get_write_buffer_size() == 70_000
    ends.down.unsent = 1  # something waits below, and not enough for it to complain
    ends.server.write_eof()
    ends.carry()
    assert ends.far.writable.is_set()
    ends.server.pause_writing()
    assert not ends.far.writable.is_set()
    assert len(ends.near.received) == 70_000
    assert ends.near.got_eof.is_set()


async def test_closing_during_the_handshake_ends_at_once(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    ends.server.write(b"never heard")
    ends.server.close()
    ends.server.close()
    assert ends.down.ended == "closed"
    ends.server.data_received(ends.up.take())
    ends.server.connection_lost(None)
    assert ends.far.lost.result() is None


async def test_a_protocol_that_raises_later_ends_its_own_stream(certificate: Made) -> None:
    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise RuntimeError("a defect")

    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: contexts.append(context)
    )
    ends = Ends(certificate.server_context(), trusting())
    ends.server.set_protocol(Failing())
    ends.carry()
    ends.server.pause_reading()
    ends.client.write(b"bytes")
    ends.carry()
    ends.server.resume_reading()
    ends.server.resume_reading()
    await asyncio.sleep(0)
    assert ends.down.ended == "aborted"
    assert [str(context["exception"]) for context in contexts] == ["a defect"]


async def test_a_stream_that_is_lost_delivers_no_more(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    ends.carry()
    ends.server.pause_reading()
    ends.client.write(b"bytes")
    ends.carry()
    ends.server.resume_reading()
    ends.server.connection_lost(ConnectionResetError("gone"))
    await asyncio.sleep(0)
    assert not ends.far.received
    ends.server.pause_reading()
    ends.server.resume_reading()
    ends.server.write(b"dropped")
    assert not ends.server.is_reading()


async def test_it_tells_what_it_knows_of_the_peer(certificate: Made) -> None:
    ends = Ends(certificate.server_context(), trusting())
    assert ends.server.get_extra_info("cipher", "unknown") == "unknown"
    assert repr(ends.server) == "<TlsStream handshaking reading=True>"
    ends.carry()
    assert ends.client.get_extra_info("cipher")[1] == "TLSv1.3"
    assert ends.client.get_extra_info("peercert") == {}
    assert ends.client.get_extra_info("ssl_object").version() == "TLSv1.3"
    assert repr(ends.server) == "<TlsStream open reading=True>"
    ends.server.abort()
    assert repr(ends.server) == "<TlsStream closing reading=False>"


async def test_several_small_records_arrive_where_openssl_has_read_ahead(certificate: Made) -> None:
    """Such a context is handed over with its connection by whoever imitates another server."""
    context = certificate.server_context()
    assert as_nginx.shape(context)
    ends = Ends(context, trusting())
    ends.carry()
    sealing, direct = ends.server._buffered, Direct(1000)
    assert sealing is not None
    assert isinstance(sealing.tls, ssl.SSLObject)
    handshake = Handshake(sealing.tls, sealing._incoming, sealing._outgoing)
    taken = TlsStream.taken_over(direct, handshake)
    taken.connection_made(Wire())
    for piece in (b"one", b"two", b"three"):
        ends.client.write(piece)
    taken.data_received(ends.up.take())
    assert bytes(direct.received) == b"onetwothree"


# Answers that depend on the first bytes


async def test_a_server_may_choose_its_context_by_the_first_bytes(certificate: Made) -> None:
    asked: list[int] = []
    context = certificate.server_context()

    def opening(first: bytes) -> ssl.SSLContext | None:
        asked.append(len(first))
        return context if len(first) >= 100 else None

    ends = Ends(opening, trusting())
    ends.carry(40)
    assert asked == [40, 80, 120]
    ends.client.write(b"and on as usual")
    ends.carry()
    assert bytes(ends.far.received) == b"and on as usual"


async def test_it_may_give_the_bare_stream_to_somebody_else(certificate: Made) -> None:
    plain = Recorder()
    ends = Ends(lambda first: None if first == b"G" else plain, trusting())
    handed: list[asyncio.BaseProtocol] = []
    ends.down.set_protocol = handed.append  # type: ignore[method-assign,assignment]
    for piece in (b"G", b"ET / HTTP/1.0"):
        ends.server.data_received(piece)
    assert handed == [plain]
    assert plain.stream is ends.down
    assert bytes(plain.received) == b"GET / HTTP/1.0"
    assert ends.down.is_open()


async def test_it_may_not_wait_for_ever(certificate: Made) -> None:
    ends = Ends(lambda _first: None, trusting())
    ends.server.data_received(bytes(FIRST_BYTES))
    assert ends.down.is_open()
    ends.server.data_received(b"x")
    assert ends.down.ended == "closed"


async def test_answers_that_nobody_reads_are_bounded(certificate: Made) -> None:
    """As if OpenSSL had answered a key update in each turn."""
    ends = Ends(certificate.server_context(), trusting())
    ends.carry()
    sealing, answer = ends.server._buffered, bytes(1000)
    assert sealing is not None
    for _ in range(UNREAD_ANSWERS // len(answer) + 10):  # each is read: no end of them
        sealing._outgoing.write(answer)
        ends.server._flush()
    assert ends.down.is_open()
    ends.down.unsent = 1
    while ends.down.is_open():
        sealing._outgoing.write(answer)
        ends.server._flush()
        assert len(ends.down.sent) < 4 * UNREAD_ANSWERS
    assert ends.down.ended == "aborted"
