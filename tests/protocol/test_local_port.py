from __future__ import annotations

import pytest

from tests.support.playbook import Outcome, Story, every_cut
from wraith.errors import Refusal
from wraith.protocol.events import (
    NEED_DATA,
    BadRequest,
    ConnectRequest,
    Failed,
    LocalProtocolError,
    PacRequest,
    UdpAssociateRequest,
)
from wraith.protocol.local_port import LocalPortServer
from wraith.values.address import HostPort, TcpDestination
from wraith.values.credentials import Credentials

SOCKS5 = "05 01 00  05 01 00 01 c0000201 0050"
SOCKS5_UDP = "05 01 00  05 03 00 01 00000000 0000"
SOCKS4 = "04 01 0050 c0000201 00"
HTTP = b"CONNECT 192.0.2.1:80 HTTP/1.1\r\n\r\n"
PLAIN_HTTP = b"GET http://192.0.2.1/ HTTP/1.1\r\n\r\n"
REQUEST = ConnectRequest(TcpDestination("192.0.2.1", 80))
UDP_REQUEST = UdpAssociateRequest(TcpDestination("0.0.0.0", 0))


@pytest.mark.parametrize(
    ("data", "sent", "event"),
    [
        (SOCKS5, b"\x05\x00", REQUEST),
        (SOCKS5_UDP, b"\x05\x00", UDP_REQUEST),
        (SOCKS4, b"", REQUEST),
        (HTTP, b"", REQUEST),
        (b"connect 192.0.2.1:80", b"", NEED_DATA),
        (b"GET /proxy.pac HTTP/1.1\nHost: localhost\n\n", b"", PacRequest("localhost")),
        (b"", b"", NEED_DATA),
    ],
)
def test_the_first_byte_tells_the_language(data: str | bytes, sent: bytes, event: object) -> None:
    assert every_cut(LocalPortServer, data) == Outcome(event, sent)


@pytest.mark.parametrize("first", [0, 3, 6, 0x16, ord("\n"), ord(" "), ord("1"), 0x7F, 0xC3, 255])
def test_strangers_are_told_nothing(first: int) -> None:
    outcome = every_cut(LocalPortServer, bytes([first]) + b"whatever")
    assert outcome == Outcome(Failed("no language that this port speaks"), b"")


def test_a_stranger_cannot_be_answered() -> None:
    port = Story(LocalPortServer()).hears(b"\x16").machine
    for answer in (port.accept, port.refuse_command):
        with pytest.raises(LocalProtocolError):
            answer()


def test_before_the_first_byte() -> None:
    port = Story(LocalPortServer()).hears(b"").reports(NEED_DATA).says_nothing().machine
    with pytest.raises(LocalProtocolError, match="nothing was received yet"):
        port.accept()


@pytest.mark.parametrize(
    ("data", "greeting", "granted"),
    [
        (SOCKS5, "05 00", bytes.fromhex("05 00 00 01 7f000001 0009")),
        (SOCKS5_UDP, "05 00", bytes.fromhex("05 00 00 01 7f000001 0009")),
        (SOCKS4, "", bytes.fromhex("00 5a 0009 7f000001")),
        (HTTP, "", b"HTTP/1.1 200 Connection established\r\n\r\n"),
    ],
)
def test_each_language_has_its_own_yes(data: str | bytes, greeting: str, granted: bytes) -> None:
    story = Story(LocalPortServer()).hears(data)
    story.machine.next_event()
    story.says(greeting).does(lambda port: port.accept(HostPort("127.0.0.1", 9))).says(granted)


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (SOCKS5, bytes.fromhex("05 00  05 06 00 01 00000000 0000")),
        (SOCKS4, bytes.fromhex("00 5b 0000 00000000")),
        (HTTP, b"HTTP/1.1 504 Gateway Timeout\r\n"),
        (PLAIN_HTTP, b"HTTP/1.1 504 Gateway Timeout\r\n"),
    ],
)
def test_each_language_has_its_own_no(data: str | bytes, refused: bytes) -> None:
    story = Story(LocalPortServer()).hears(data)
    story.machine.next_event()
    story.machine.refuse(Refusal.TIMED_OUT)
    assert story.machine.data_to_send().startswith(refused)


def test_datagrams_that_the_server_cannot_carry() -> None:
    Story(LocalPortServer()).hears(SOCKS5_UDP).reports(UDP_REQUEST).says("05 00").does(
        LocalPortServer.refuse_command
    ).says("05 07 00 01 00000000 0000")


def test_a_plain_request_reaches_its_origin_as_one_piece() -> None:
    Story(LocalPortServer()).hears(PLAIN_HTTP + b"body").reports(
        ConnectRequest(TcpDestination("192.0.2.1", 80), tunnel=False)
    ).does(LocalPortServer.accept).says_nothing().passes_on(
        b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nConnection: close\r\n\r\nbody"
    )


def test_a_lost_browser() -> None:
    port = Story(LocalPortServer()).hears(b"GET / HTTP/1.1\r\nHost: localhost:1080\r\n\r\n").machine
    assert isinstance(port.next_event(), BadRequest)
    assert port.data_to_send().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (SOCKS5, bytes.fromhex("05 ff")),
        (SOCKS4, bytes.fromhex("00 5b 0000 00000000")),
        (HTTP, b"HTTP/1.1 407 "),
        (PLAIN_HTTP, b"HTTP/1.1 407 "),
    ],
)
def test_with_credentials_no_language_is_a_way_round_them(data: str | bytes, answer: bytes) -> None:
    outcome = every_cut(lambda: LocalPortServer(Credentials("me", "pwd")), data)
    assert isinstance(outcome.event, Failed)
    assert outcome.sent.startswith(answer)


def test_socks4_can_be_turned_off() -> None:
    outcome = every_cut(lambda: LocalPortServer(allow_socks4=False), SOCKS4)
    assert isinstance(outcome.event, Failed)


def test_it_introduces_itself() -> None:
    port = LocalPortServer()
    assert repr(port) == "<LocalPortServer waiting for the first byte>"
    Story(port).hears(SOCKS4).reports(REQUEST)
    assert repr(port) == "<LocalPortServer <Socks4Server, a reply is due>>"
