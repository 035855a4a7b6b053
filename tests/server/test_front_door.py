"""The front door, knocked at over loopback; what nginx would answer is held in interop/stealth."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.certificates import Made, make_certificate
from tests.support.loops import LOOPS, NewLoop, run_under
from tests.support.sockets import reset, small_buffers, was_reset
from wraith.protocol import stealth_proof
from wraith.protocol.decoy.machine import Settings
from wraith.protocol.first_bytes import Doorkeeper
from wraith.server import front_door, knock
from wraith.server.front_door import Caller, FrontDoor
from wraith.server.sockets import TlsSocket
from wraith.server.upstream import Upstream
from wraith.streams.listening import listen
from wraith.transports import as_nginx
from wraith.values.address import HostPort
from wraith.values.upstream_url import parse_upstream_url

SECRET = b"a secret of thirty-two bytes ..."
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET / HTTP/1.0\r\n\r\n"
SSH = b"SSH-2.0-test\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_certificate(tmp_path_factory.mktemp("tls"), "localhost")


class House:
    """A front door on a port of this machine, and whom it let in."""

    def __init__(self, certificate: Made, **options: Any) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        as_nginx.shape(self.context)
        self.context.load_cert_chain(certificate.cert_path, certificate.key_path)
        self.let_in: list[bytes] = []
        doorkeeper = options.pop("doorkeeper", Doorkeeper())
        contexts = options.pop("contexts", lambda _first: self.context)
        self.door = FrontDoor(contexts, self._take, doorkeeper=doorkeeper, **options)
        self.port = 0

    def _take(self, wire: TlsSocket, early: bytes) -> None:
        self.let_in.append(early)
        wire.send(b"welcome")
        wire.sock.close()

    async def call(self, visit: Callable[[Visitor], bytes | None], **tls: Any) -> bytes | None:
        """Let somebody call, in a thread; return what they heard."""

        def whole() -> bytes | None:
            with contextlib.closing(Visitor(self.port, **tls)) as visitor:
                return visit(visitor)

        return await asyncio.to_thread(whole)


@contextlib.asynccontextmanager
async def house(certificate: Made, **options: Any) -> AsyncIterator[House]:
    built = House(certificate, **options)
    listener = await listen(HostPort("127.0.0.1", 0), lambda: Caller(built.door))
    built.port = listener.port
    try:
        yield built
    finally:
        listener.close()
        await built.door.close()
        assert len(built.door) == 0


class Visitor:
    """A client, with TLS unless it is `plain`."""

    def __init__(self, port: int, *, plain: bool = False, most: str = "TLSv1_3") -> None:
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        if not plain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.maximum_version = ssl.TLSVersion[most]
            self.sock = context.wrap_socket(self.sock)

    def close(self) -> None:
        self.sock.close()

    def says(self, data: bytes) -> Visitor:
        self.sock.sendall(data)
        return self

    def hears(self, size: int = 65536) -> bytes:
        return self.sock.recv(size)

    def hears_all(self) -> bytes:
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := self.sock.recv(65536):
                heard += piece
        return heard

    def proof(self) -> bytes:
        assert isinstance(self.sock, ssl.SSLSocket)
        binding = self.sock.get_channel_binding("tls-unique")
        assert binding is not None
        return stealth_proof.prove(SECRET, binding)


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_strangers_meet_nginx_and_ours_are_let_in(certificate: Made, new_loop: NewLoop) -> None:
    async def story() -> None:
        async with house(certificate) as home:
            heard = await home.call(lambda visitor: visitor.says(GET).hears())
            assert heard is not None
            assert heard.startswith(b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\n")
            assert await home.call(lambda visitor: visitor.says(SSH).hears_all()) == b"welcome"
            assert home.let_in == [SSH]

    assert run_under(new_loop, story()).contexts == []


async def test_the_server_never_speaks_first(certificate: Made) -> None:
    def silence(visitor: Visitor) -> bytes | None:
        visitor.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            visitor.hears()
        return None

    async with house(certificate) as home:
        await home.call(silence)
        await home.call(silence, plain=True)


async def test_an_opening_in_two_records_is_a_stranger_s(certificate: Made) -> None:
    async with house(certificate) as home:
        heard = await home.call(lambda visitor: visitor.says(b"SSH-").says(b"2.0-x").hears_all())
        assert heard is not None
        assert heard.startswith(b"HTTP/1.1 400 ")
        assert home.let_in == []


async def test_with_a_secret_ssh_alone_is_a_stranger_s(certificate: Made) -> None:
    async with house(certificate, doorkeeper=Doorkeeper(SECRET)) as home:
        heard = await home.call(lambda visitor: visitor.says(SSH).hears_all())
        assert heard is not None
        assert heard.startswith(b"HTTP/1.1 400 ")
        proven = await home.call(lambda visitor: visitor.says(visitor.proof() + SSH).hears_all())
        assert proven == b"welcome"
        alone = await home.call(lambda visitor: visitor.says(visitor.proof()).hears_all())
        assert alone == b"welcome"
        assert home.let_in == [SSH, b""]


async def test_a_recorded_opening_is_worth_nothing_on_another_connection(
    certificate: Made,
) -> None:
    recorded = b""

    def proves(visitor: Visitor) -> bytes:
        nonlocal recorded
        recorded = visitor.proof() + SSH
        return visitor.says(recorded).hears_all()

    async with house(certificate, doorkeeper=Doorkeeper(SECRET)) as home:
        assert await home.call(proves) == b"welcome"
        heard = await home.call(lambda visitor: visitor.says(recorded).hears_all())
        assert heard is not None
        assert heard.startswith(b"HTTP/1.1 400 ")
        assert len(home.let_in) == 1


async def test_below_tls_1_3_nothing_is_proven(certificate: Made) -> None:
    async with house(certificate, doorkeeper=Doorkeeper(SECRET)) as home:
        heard = await home.call(
            lambda visitor: visitor.says(visitor.proof() + SSH).hears_all(), most="TLSv1_2"
        )
        assert heard is not None
        assert heard.startswith(b"HTTP/1.1 400 ")


async def test_plain_text_on_the_tls_port(certificate: Made) -> None:
    async with house(certificate) as home:
        heard = await home.call(lambda visitor: visitor.says(GET).hears_all(), plain=True)
        assert heard is not None
        assert b"The plain HTTP request was sent to HTTPS port" in heard
        assert (
            await home.call(lambda visitor: visitor.says(b"\x16junk!").hears_all(), plain=True)
            == b""
        )


async def test_time_outs_are_kept(certificate: Made) -> None:
    settings = Settings(client_header_timeout=0.3, keepalive_timeout=0.3, lingering_timeout=0.2)
    async with house(certificate, settings=settings) as home:
        assert await home.call(lambda visitor: visitor.hears_all()) == b""
        assert await home.call(lambda visitor: visitor.hears_all(), plain=True) == b""
        assert await home.call(lambda visitor: visitor.says(b"GET").hears_all()) == b""
        kept = await home.call(lambda visitor: visitor.says(GET).hears_all())
        assert kept is not None
        assert kept.count(b"HTTP/1.1 404") == 1
        lingering = await home.call(lambda visitor: visitor.says(CLOSE + b"x").hears_all())
        assert lingering is not None
        await asyncio.sleep(0.5)
        assert len(home.door) == 0


async def test_a_full_house_gives_up_who_has_been_idle_longest(
    certificate: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_door, "MAX_STRANGERS", 3)
    async with house(certificate) as home:
        first = await asyncio.to_thread(Visitor, home.port)
        others = [await asyncio.to_thread(Visitor, home.port) for _ in range(3)]
        assert await asyncio.to_thread(first.hears_all) == b""
        first.close()
        for other in others:
            heard = await asyncio.to_thread(other.says(GET).hears)
            assert heard.startswith(b"HTTP/1.1 404")
            other.close()


async def test_who_does_not_read_is_not_read_either(certificate: Made) -> None:
    def floods(visitor: Visitor) -> None:
        small_buffers(visitor.sock)
        visitor.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            visitor.says(GET * 200_000)

    settings = Settings(send_timeout=1.0, keepalive_requests=1_000_000)
    async with house(certificate, settings=settings) as home:
        await home.call(floods)


async def test_a_certificate_may_be_chosen_by_the_first_bytes(certificate: Made) -> None:
    asked: list[int] = []

    def contexts(first: bytes) -> ssl.SSLContext | None:
        asked.append(len(first))
        return home.context if len(first) > 100 else None

    def trickles(visitor: Visitor) -> bytes | None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls = context.wrap_bio(incoming, outgoing, server_hostname="a")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        visitor.says(hello[:50])
        visitor.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            visitor.hears()
        visitor.sock.settimeout(5)
        return visitor.says(hello[50:]).hears()

    async with house(certificate, contexts=contexts) as home:
        heard = await home.call(trickles, plain=True)
        assert heard is not None
        assert heard[:1] == b"\x16"
        assert asked[0] == 50


async def test_one_that_breaks_off_anywhere_leaves_nothing(certificate: Made) -> None:
    async with house(certificate) as home:
        for said in (b"", b"GET", GET, CLOSE + b"x"):
            for plain in (False, True):
                visitor = await asyncio.to_thread(Visitor, home.port, plain=plain)
                visitor.says(said)
                await asyncio.sleep(0.02)
                reset(visitor.sock)
        async with asyncio.timeout(5):
            while len(home.door):
                await asyncio.sleep(0.01)


async def test_closing_the_door_ends_everybody(certificate: Made) -> None:
    async with house(certificate) as home:
        visitors = [await asyncio.to_thread(Visitor, home.port) for _ in range(2)]
        visitors[0].says(b"GET")
        visitors.append(await asyncio.to_thread(Visitor, home.port, plain=True))
        await asyncio.sleep(0.05)
        assert len(home.door) == 3
    for visitor in visitors:
        assert await asyncio.to_thread(visitor.hears_all) == b""
        visitor.close()


# The real web server


class Web:
    """A web server of a few lines: it tells what it was told, and ends as asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.heard: list[bytes] = []

    async def __aenter__(self) -> Web:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while said := await reader.read(65536):
                self.heard.append(said)
                if b"reset" in said:
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    writer.transport.abort()
                    return
                if b"flood" in said:
                    while True:
                        writer.write(b"x" * 65536)
                        await writer.drain()
                writer.write(b"heard " + said[-40:])
                if b"bye" in said:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"


@pytest.mark.parametrize("encrypted", [False, True], ids=["http", "https"])
async def test_strangers_are_answered_by_the_real_web_server(
    certificate: Made, encrypted: bool
) -> None:
    async with Web(certificate.server_context() if encrypted else None) as web:
        upstream = Upstream(parse_upstream_url(web.url))
        async with house(certificate, upstream=upstream) as home:
            heard = await home.call(lambda visitor: visitor.says(b"hello").hears())
            assert heard == b"heard hello"
            said = b"long" * 5000 + b"bye"
            heard = await home.call(lambda visitor: visitor.says(said).hears_all())
            assert heard is not None
            assert heard.startswith(b"heard ")
            assert await home.call(lambda visitor: visitor.says(SSH).hears_all()) == b"welcome"
            assert b"SSH" not in b"".join(web.heard)


async def test_with_a_secret_ssh_goes_to_the_web_server_like_anything_else(
    certificate: Made,
) -> None:
    async with Web() as web:
        upstream = Upstream(parse_upstream_url(web.url))
        doorkeeper = Doorkeeper(SECRET)
        async with house(certificate, upstream=upstream, doorkeeper=doorkeeper) as home:
            assert await home.call(lambda visitor: visitor.says(SSH).hears()) == b"heard " + SSH
            proven = await home.call(lambda visitor: visitor.says(visitor.proof()).hears_all())
            assert proven == b"welcome"


async def test_whoever_keeps_silent_is_the_web_server_s_to_wait_for(
    certificate: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knock, "PATIENCE", 0.05)

    def waits(visitor: Visitor) -> bytes:
        visitor.sock.settimeout(5)
        asyncio.run(asyncio.sleep(0.3))
        return visitor.says(SSH).hears()

    async with Web() as web:
        upstream = Upstream(parse_upstream_url(web.url))
        async with house(certificate, upstream=upstream) as home:
            assert await home.call(waits) == b"heard " + SSH


async def test_the_web_server_is_told_who_it_is(certificate: Made) -> None:
    async with Web() as web:
        upstream = Upstream(parse_upstream_url(web.url + "?proxy_protocol=1"))
        async with house(certificate, upstream=upstream) as home:
            await home.call(lambda visitor: visitor.says(b"hello").hears())
        told = b"".join(web.heard)
        assert told.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
        assert told.endswith(b" %d\r\nhello" % home.port)


async def test_a_web_server_that_is_away_is_stood_in_for(
    certificate: Made, caplog: pytest.LogCaptureFixture
) -> None:
    async with Web() as web:
        upstream = Upstream(parse_upstream_url(web.url))
    async with house(certificate, upstream=upstream) as home:
        heard = await home.call(lambda visitor: visitor.says(GET).hears())
        assert heard is not None
        assert heard.startswith(b"HTTP/1.1 404")
    assert "stealth upstream unreachable" in caplog.text


async def test_plain_text_goes_to_the_web_server_s_tls_port_as_it_is(certificate: Made) -> None:
    async with Web() as web:  # what would be TLS hears what was said
        upstream = Upstream(parse_upstream_url(web.url.replace("http:", "https:")))
        async with house(certificate, upstream=upstream) as home:
            heard = await home.call(lambda visitor: visitor.says(b"hi bye").hears_all(), plain=True)
            assert heard == b"heard hi bye"


async def test_resets_are_passed_on_both_ways(certificate: Made) -> None:
    def is_reset(visitor: Visitor) -> None:
        visitor.says(b"reset")
        visitor.sock = socket.socket(fileno=visitor.sock.detach())  # TLS takes a reset for an end
        visitor.sock.settimeout(10)
        assert was_reset(visitor.sock)

    async with Web() as web:
        upstream = Upstream(parse_upstream_url(web.url))
        async with house(certificate, upstream=upstream) as home:
            await home.call(is_reset)
            visitor = await asyncio.to_thread(Visitor, home.port)
            assert await asyncio.to_thread(visitor.says(b"hello").hears) == b"heard hello"
            reset(visitor.sock)
            async with asyncio.timeout(5):
                while len(home.door):
                    await asyncio.sleep(0.01)


async def test_a_flood_is_held_back_by_whoever_does_not_read(certificate: Made) -> None:
    async with Web() as web:
        upstream = Upstream(parse_upstream_url(web.url))
        async with house(certificate, upstream=upstream) as home:
            visitor = await asyncio.to_thread(Visitor, home.port)
            visitor.says(b"flood")
            await asyncio.sleep(0.5)
            (splice,) = home.door._guests
            side = splice._client  # type: ignore[attr-defined]
            assert side.stuck
            assert len(side.unsent) <= 16384
            heard = await asyncio.to_thread(visitor.hears)
            assert heard.startswith(b"x")
            visitor.close()


async def test_a_half_closed_stranger_still_gets_the_answer(certificate: Made) -> None:
    def half_closes(visitor: Visitor) -> bytes:
        visitor.says(b"hello")
        socket.socket.shutdown(visitor.sock, socket.SHUT_WR)
        return visitor.hears_all()

    async with Web(certificate.server_context()) as web:
        upstream = Upstream(parse_upstream_url(web.url.replace("https", "http")))
        async with house(certificate, upstream=upstream) as home:
            await home.call(half_closes)
    async with Web() as web:
        upstream = Upstream(parse_upstream_url(web.url))
        async with house(certificate, upstream=upstream) as home:
            assert await home.call(half_closes) == b"heard hello"
