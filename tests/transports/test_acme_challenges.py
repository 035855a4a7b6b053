"""What an authority finds while an order is pending, and what everybody else finds meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509

from wraith.errors import ListenError
from wraith.transports import acme_challenges
from wraith.transports.acme_challenges import (
    AlpnChallenges,
    HttpChallenges,
    server_name_for,
)
from wraith.values.address import HostPort


class TestByTls:
    @pytest.fixture
    def usual(self) -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    @pytest.mark.parametrize(
        ("identifier", "name"),
        [
            ("GW.test", "gw.test"),
            ("127.0.0.1", "1.0.0.127.in-addr.arpa"),
            ("2001:db8::1", f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa"),
        ],
    )
    def test_the_proof_is_shown_to_whoever_asks_for_it(
        self, identifier: str, name: str, usual: ssl.SSLContext, tmp_path: Path
    ) -> None:
        challenges = AlpnChallenges()
        challenges.add(identifier, "token.thumbprint", tmp_path)
        assert list(tmp_path.glob(".challenge*")) == []
        assert server_name_for(identifier) == name
        shown, protocol = handshake(challenges, usual, name, ["acme-tls/1"])
        assert protocol == "acme-tls/1"
        proof = next(e for e in shown.extensions if e.oid.dotted_string == "1.3.6.1.5.5.7.1.31")
        assert proof.critical
        assert isinstance(proof.value, x509.UnrecognizedExtension)
        assert proof.value.value[2:] == hashlib.sha256(b"token.thumbprint").digest()

    def test_everybody_else_meets_what_they_always_meet(
        self, usual: ssl.SSLContext, tmp_path: Path
    ) -> None:
        challenges = AlpnChallenges()
        hello = hello_for("gw.test", ["acme-tls/1"])
        assert challenges.choose(b"\x16", usual) is usual, "with nothing pending, nobody waits"
        challenges.add("gw.test", "token.thumbprint", tmp_path)
        for first in (hello_for("gw.test", ["h2"]), hello_for("gw.test", []), b"SSH-2.0-x\r\n"):
            assert challenges.choose(first, usual) is usual
        assert challenges.choose(hello_for("other.test", ["acme-tls/1"]), usual) is usual
        assert challenges.choose(hello, usual) not in (usual, None)
        assert challenges.choose(hello[:-1], usual) is None
        challenges.clear()
        assert challenges.choose(hello, usual) is usual
        assert repr(challenges) == "<AlpnChallenges pending=0>"


def client_side(
    name: str, protocols: list[str]
) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return context.wrap_bio(incoming, outgoing, server_hostname=name), incoming, outgoing


def hello_for(name: str, protocols: list[str]) -> bytes:
    client, _, outgoing = client_side(name, protocols)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def handshake(
    challenges: AlpnChallenges, usual: ssl.SSLContext, name: str, protocols: list[str]
) -> tuple[x509.Certificate, str | None]:
    """What a client is shown, and the protocol that was agreed."""
    client, to_client, from_client = client_side(name, protocols)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = from_client.read()
    context = challenges.choose(hello, usual)
    assert context is not None
    to_server, from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, from_server, server_side=True)
    to_server.write(hello)
    for _ in range(3):
        for side, out, into in ((server, from_server, to_client), (client, from_client, to_server)):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
            into.write(out.read())
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown), client.selected_alpn_protocol()


class TestByHttp:
    async def test_it_answers_what_is_pending_and_nothing_else(self) -> None:
        challenges = HttpChallenges(HostPort("127.0.0.1", 0))
        await challenges.open()
        challenges.add("abc", "abc.thumbprint")
        ask = f"GET {acme_challenges.HTTP_PATH.decode()}"
        for request, status, body in (
            (f"{ask}abc HTTP/1.1", 200, b"abc.thumbprint"),
            (f"{ask}abd HTTP/1.1", 404, b"There is nothing here.\n"),
            (f"POST{ask[3:]}abc HTTP/1.1", 404, b"There is nothing here.\n"),
            ("GET / HTTP/1.0", 404, b"There is nothing here.\n"),
            ("nonsense", 400, b"This is no request.\n"),
        ):
            answer = await said_to(challenges, f"{request}\r\nHost: gw.test\r\n\r\n".encode())
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            assert answer.partition(b"\r\n\r\n")[2] == body
        assert (await said_to(challenges, b"a" * 20_000)).startswith(b"HTTP/1.1 431 ")
        challenges.close()

    async def test_a_request_in_many_pieces_and_one_too_many(self) -> None:
        challenges = HttpChallenges(HostPort("127.0.0.1", 0))
        await challenges.open()
        challenges.add("abc", "abc.thumbprint")
        request = acme_challenges.HTTP_PATH.join([b"GET ", b"abc HTTP/1.1\r\n\r\n"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(challenges))
        for number in request[:-1]:
            writer.write(bytes([number]))
            await asyncio.sleep(0)
        writer.write(request[-1:] + b"GET / HTTP/1.1\r\n\r\n")
        assert (await reader.read()).count(b"HTTP/1.1 ") == 1
        writer.close()
        challenges.close()

    async def test_who_says_nothing_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(acme_challenges, "HTTP_PATIENCE", 0.05)
        challenges = HttpChallenges(HostPort("127.0.0.1", 0))
        await challenges.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(challenges))
        with suppress(ConnectionResetError):  # with nothing unread it looks like an end
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        challenges.close()

    async def test_it_is_open_only_meanwhile(self) -> None:
        challenges = HttpChallenges(HostPort("127.0.0.1", 0))
        assert "closed" in repr(challenges)
        await challenges.open()
        assert "open pending=0" in repr(challenges)
        port = port_of(challenges)
        challenges.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    async def test_a_port_that_is_taken_is_told_with_the_option(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            challenges = HttpChallenges(HostPort(*taken.getsockname()))
            with pytest.raises(ListenError) as caught:
                await challenges.open()
        assert "--acme-http" in str(caught.value.hint)


def port_of(challenges: HttpChallenges) -> int:
    assert challenges._listener is not None
    return challenges._listener.port


async def said_to(challenges: HttpChallenges, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(challenges))
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer
