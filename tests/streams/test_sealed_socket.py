"""TLS on a bare socket, which OpenSSL reads and writes itself: what memory cannot show."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.certificates import Made, make_certificate
from tests.support.sockets import read_all, reset, tcp_pair
from wraith.streams import sealing
from wraith.streams.direct import DirectReceiver
from wraith.streams.opened_records import OPEN_AT_ONCE
from wraith.streams.sealed_socket import SealedSocket
from wraith.streams.sealing import BufferedSealing
from wraith.streams.socket_stream import SocketStream
from wraith.streams.tls_stream import TlsStream
from wraith.testing import Recorder

TCP_CLOSE = b"\x07"
"""The state of a connection that was reset, first in `TCP_INFO`."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_certificate(tmp_path_factory.mktemp("certificates"), "localhost")


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def secured(certificate: Made) -> AsyncIterator[tuple[Recorder, ssl.SSLSocket]]:
    """A stream of ours as the server, and an ordinary blocking TLS socket as its peer."""
    with tcp_pair() as (near, far):
        ours = Recorder()
        done = asyncio.Event()
        stream = TlsStream(ours, certificate.server_context(), on_secured=lambda _: done.set())
        SocketStream(socket.socket(fileno=near.detach()), stream)
        far.settimeout(10)
        peer = await asyncio.to_thread(trusting().wrap_socket, far)
        await asyncio.wait_for(done.wait(), 10)
        assert isinstance(stream._sealing, SealedSocket)
        try:
            yield ours, peer
        finally:
            ours.stream.abort()
            await ours.until_lost()
            peer.close()


def sealed_under(recorder: Recorder) -> SealedSocket:
    stream = recorder.stream
    assert isinstance(stream, TlsStream)
    assert isinstance(stream._sealing, SealedSocket)
    return stream._sealing


async def test_a_half_close_while_the_peer_sends_loses_none_of_it(certificate: Made) -> None:
    """`unwrap` alone would meet the peer's data and take it for an error."""
    payload = os.urandom(3_000_000)
    async with secured(certificate) as (ours, peer):
        sending = asyncio.create_task(asyncio.to_thread(peer.sendall, payload))
        await ours.until_received(100_000)
        ours.stream.write(b"that was all")
        ours.stream.write_eof()
        assert await ours.until_received(len(payload)) == payload
        await sending
        assert await asyncio.to_thread(read_all, peer) == b"that was all"


async def test_a_goodbye_waits_behind_what_the_kernel_has_not_taken(certificate: Made) -> None:
    payload = os.urandom(16_000_000)
    async with secured(certificate) as (ours, peer):
        ours.stream.write(payload)
        assert ours.stream.get_write_buffer_size() > 0
        assert not ours.writable.is_set()
        ours.stream.close()
        assert await asyncio.to_thread(read_all, peer) == payload
        assert await ours.until_lost() is None


class Sips(Recorder, DirectReceiver):
    """Takes ten bytes, and then needs a rest."""

    def get_buffer(self) -> memoryview:
        return memoryview(self.sip)

    def buffer_updated(self, count: int) -> None:
        self.data_received(bytes(self.sip[:count]))
        self.stream.pause_reading()

    sip = bytearray(10)


async def test_a_record_that_is_half_read_survives_a_goodbye_that_had_to_wait(
    certificate: Made,
) -> None:
    payload = os.urandom(16_000_000)
    async with secured(certificate) as (ours, peer):
        sips = Sips()
        sips.connection_made(ours.stream)
        ours.stream.set_protocol(sips)
        ours.stream.write(payload)
        ours.stream.write_eof()
        await asyncio.to_thread(peer.sendall, b"0123456789abcdefghij")
        assert await sips.until_received(10) == b"0123456789"
        assert ours.stream.get_write_buffer_size() > 0
        assert await asyncio.to_thread(read_all, peer) == payload
        for _ in range(2):
            ours.stream.resume_reading()
            await asyncio.sleep(0.01)
        assert bytes(sips.received) == b"0123456789abcdefghij"
        ours.stream.set_protocol(ours)


async def test_a_goodbye_for_which_there_is_no_room_is_sent_later(
    certificate: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket.send
    refusals = iter([BlockingIOError(), BlockingIOError()])

    def send(sock: socket.socket, data: bytes, *flags: int) -> int:
        for refusal in refusals:
            raise refusal
        return real(sock, data[:5], *flags)  # and then a few bytes at a time

    async with secured(certificate) as (ours, peer):
        sealed = sealed_under(ours)
        monkeypatch.setattr("wraith.streams.sealed_socket.socket.socket.send", send)
        ours.stream.write_eof()
        assert ours.stream.get_write_buffer_size() > 0
        ours.stream.close()
        assert repr(sealed) == "<SocketStream closing reading=False unsent=0>"
        assert await asyncio.to_thread(peer.recv, 10) == b""
        assert await ours.until_lost() is None


async def test_without_descriptors_a_half_close_ends_its_own_connection(
    certificate: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with secured(certificate) as (ours, _peer), secured(certificate) as (other, friend):
        with monkeypatch.context() as patch:
            patch.setattr("wraith.streams.sealed_socket.os.dup", exhausted)
            ours.stream.write_eof()
        error = await ours.until_lost()
        assert isinstance(error, OSError)
        assert error.errno == errno.EMFILE
        other.stream.write(b"alive")
        assert await asyncio.to_thread(friend.recv, 10) == b"alive"


async def test_an_end_that_was_met_by_our_goodbye_is_delivered_once(certificate: Made) -> None:
    async with secured(certificate) as (ours, peer):
        ours.stream.pause_reading()
        await asyncio.to_thread(peer.sendall, b"last words")
        sealed = sealed_under(ours)
        peer.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            peer.unwrap()
        data = bytearray()
        while not data.endswith(b"last words"):  # as a reader that was paused in the middle
            await asyncio.sleep(0.01)
            try:
                data += sealed.tls.read(100)
            except ssl.SSLWantReadError:
                continue
        assert sealed.tls.read(100) == b""
        ours.stream.write_eof()
        assert sealed.heard_goodbye
        assert not ours.got_eof.is_set()
        ours.stream.resume_reading()
        assert await ours.until_eof() == b""


async def test_reading_that_must_write_first_waits_for_room(
    certificate: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with an answer to a key update when the peer takes nothing."""
    async with secured(certificate) as (ours, peer):
        sealed = sealed_under(ours)
        stuck = [ssl.SSLWantWriteError(), ssl.SSLWantWriteError()]
        real = sealed.tls.read
        asked: list[int] = []

        def read(*arguments: Any) -> Any:
            asked.append(len(stuck))
            if stuck:
                raise stuck.pop()
            return real(*arguments)

        monkeypatch.setattr(sealed.tls, "read", read)
        await asyncio.to_thread(peer.sendall, b"when there is room")
        assert await ours.until_received(18) == b"when there is room"
        assert asked[:3] == [2, 1, 0]
        ours.stream.pause_reading()
        sealed.wait_for_room()  # and a pause meanwhile is still one
        await asyncio.sleep(0.05)
        assert not sealed.is_reading()


async def test_a_handshake_goes_on_where_it_stuck(
    certificate: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ssl.SSLSocket.do_handshake
    stuck = [ssl.SSLWantWriteError()]

    def do_handshake(tls: ssl.SSLSocket, *arguments: bool) -> None:
        if stuck and not tls.gettimeout():
            raise stuck.pop()
        real(tls, *arguments)

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", do_handshake)
    async with secured(certificate) as (ours, peer):
        await asyncio.to_thread(peer.sendall, b"hello")
        assert await ours.until_received(5) == b"hello"
    assert not stuck


async def test_a_peer_that_never_pauses_leaves_others_their_turn(certificate: Made) -> None:
    async with secured(certificate) as (ours, peer):
        stop = threading.Event()

        def flood() -> None:
            piece = bytes(1 << 20)
            while not stop.is_set():
                try:
                    peer.sendall(piece)
                except OSError:
                    return

        flooding = asyncio.create_task(asyncio.to_thread(flood))
        turns, amounts = 0, []
        seen = len(ours.received)
        while len(ours.received) < 8 * OPEN_AT_ONCE:
            await asyncio.sleep(0)
            turns += 1
            amounts.append(len(ours.received) - seen)
            seen = len(ours.received)
        assert max(amounts) <= 4 * OPEN_AT_ONCE
        stop.set()
        await flooding


async def test_the_alert_arrives_although_more_was_sent_than_was_read(certificate: Made) -> None:
    with tcp_pair() as (near, far):
        ours = Recorder()
        stream = TlsStream(ours, certificate.server_context())
        SocketStream(socket.socket(fileno=near.detach()), stream)
        await asyncio.to_thread(
            far.sendall, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" + bytes(30_000)
        )
        error = await ours.until_lost()
        assert isinstance(error, ssl.SSLError)
        alert = await asyncio.to_thread(read_all, far)
        assert alert[:1] == b"\x15"


# Before it is known that it will be TLS


async def greet(
    first: Callable[[bytes], Any], *pieces: bytes
) -> tuple[Recorder, TlsStream, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    ours = Recorder()
    stream = TlsStream(ours, first)
    SocketStream(near, stream, peername=("192.0.2.7", 4711))
    for piece in pieces:
        far.sendall(piece)
        await asyncio.sleep(0.02)
    return ours, stream, far


async def test_whoever_asks_for_something_else_is_heard_from_the_first_byte_on() -> None:
    plain = Recorder()
    asked: list[bytes] = []

    def opening(first: bytes) -> asyncio.Protocol:
        asked.append(first)
        return plain

    _, stream, far = await greet(opening, b"GET /")
    with far:
        assert await plain.until_received(5) == b"GET /"
        assert asked == [b"GET /", b"GET /"]  # looked at, and then taken
        assert type(plain.stream) is SocketStream
        assert plain.stream.get_extra_info("peername") == ("192.0.2.7", 4711)
        plain.stream.close()
        await plain.until_lost()
        assert stream.is_closing()


async def test_a_hello_in_pieces_is_answered_from_memory(certificate: Made) -> None:
    context = certificate.server_context()

    def opening(first: bytes) -> ssl.SSLContext | None:
        return context if len(first) > 100 else None

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    ours, stream, far = await greet(opening, hello[:60], hello[60:])
    with far:
        assert isinstance(stream._sealing, BufferedSealing)
        incoming.write(far.recv(1 << 16))
        client.do_handshake()
        client.write(b"in the end")
        far.sendall(outgoing.read())
        assert await ours.until_received(10) == b"in the end"
        ours.stream.abort()
        await ours.until_lost()


async def test_who_hangs_up_at_once_is_an_end_without_a_goodbye(certificate: Made) -> None:
    ours, _, far = await greet(lambda _first: certificate.server_context())
    far.close()
    assert isinstance(await ours.until_lost(), ssl.SSLEOFError)


async def test_who_is_gone_before_the_handshake_is_lost_like_any_other(
    certificate: Made,
) -> None:
    with tcp_pair() as (near, far):
        ours = Recorder()
        context = certificate.server_context()

        def opening(_first: bytes) -> ssl.SSLContext:
            reset(far)
            while near_socket.getsockopt(socket.SOL_TCP, socket.TCP_INFO, 1) != TCP_CLOSE:
                pass  # until the reset has come
            return context

        near_socket = socket.socket(fileno=near.detach())
        SocketStream(near_socket, TlsStream(ours, opening))
        far.sendall(b"\x16\x03\x01")
        assert isinstance(await ours.until_lost(), OSError)


async def test_records_are_read_where_python_hides_its_reader_as_well(
    certificate: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "getattr", lambda _tls, _name, default: default, raising=False)
    async with secured(certificate) as (ours, peer):
        sips = Sips()
        sips.connection_made(ours.stream)
        ours.stream.set_protocol(sips)
        await asyncio.to_thread(peer.sendall, b"0123456789")
        assert await sips.until_received(10) == b"0123456789"
        ours.stream.set_protocol(ours)
