"""What every listening side promises, whatever it speaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.playbook import Story
from wraith.errors import Refusal
from wraith.protocol.events import NEED_DATA, ConnectRequest, LocalProtocolError
from wraith.protocol.http_proxy import HttpProxyServer
from wraith.protocol.listening_side import ListeningSide
from wraith.protocol.local_port import LocalPortServer
from wraith.protocol.socks4 import Socks4Server
from wraith.protocol.socks5.server import Socks5Server
from wraith.values.address import TcpDestination

SOCKS5 = bytes.fromhex("05 01 00  05 01 00 01 c0000201 0050")
SOCKS4 = bytes.fromhex("04 01 0050 c0000201 00")
HTTP = b"CONNECT 192.0.2.1:80 HTTP/1.1\r\n\r\n"
REQUEST = ConnectRequest(TcpDestination("192.0.2.1", 80))

Side = ListeningSide | LocalPortServer

SIDES: list[tuple[Callable[[], Side], bytes]] = [
    (Socks5Server, SOCKS5),
    (Socks4Server, SOCKS4),
    (HttpProxyServer, HTTP),
    (LocalPortServer, SOCKS5),
    (LocalPortServer, SOCKS4),
    (LocalPortServer, HTTP),
]
every_side = pytest.mark.parametrize(("make", "handshake"), SIDES)

ANSWERS: list[Callable[[Side], None]] = [
    lambda side: side.accept(),
    lambda side: side.refuse(Refusal.REFUSED),
    lambda side: side.refuse_command(),
]


@every_side
def test_an_answer_before_the_request_is_our_own_mistake(
    make: Callable[[], Side], handshake: bytes
) -> None:
    side = Story(make()).hears(handshake[:-1]).reports(NEED_DATA).machine
    for answer in ANSWERS:
        with pytest.raises(LocalProtocolError):
            answer(side)
    with pytest.raises(LocalProtocolError):
        side.trailing_data()


@every_side
def test_a_request_is_reported_once(make: Callable[[], Side], handshake: bytes) -> None:
    story = Story(make()).hears(handshake).reports(REQUEST)
    with pytest.raises(LocalProtocolError, match="no next_event now: a reply is due"):
        story.machine.next_event()


@every_side
@pytest.mark.parametrize("first", ANSWERS)
def test_there_is_one_answer(
    make: Callable[[], Side], handshake: bytes, first: Callable[[Side], None]
) -> None:
    story = Story(make()).hears(handshake).reports(REQUEST).does(first)
    for again in ANSWERS:
        with pytest.raises(LocalProtocolError, match="no reply now"):
            again(story.machine)


@every_side
def test_what_follows_the_request_is_kept_for_the_destination(
    make: Callable[[], Side], handshake: bytes
) -> None:
    story = Story(make()).hears(handshake + b"early").reports(REQUEST)
    story.hears(b" bird").does(lambda side: side.accept()).passes_on(b"early bird")


@every_side
def test_after_a_refusal_there_is_nothing_to_relay(
    make: Callable[[], Side], handshake: bytes
) -> None:
    story = Story(make()).hears(handshake + b"early").reports(REQUEST)
    story.does(lambda side: side.refuse(Refusal.FAILED)).hears(b"late")
    with pytest.raises(LocalProtocolError, match="closed"):
        story.machine.trailing_data()


@every_side
def test_it_introduces_itself_without_the_destination(
    make: Callable[[], Side], handshake: bytes
) -> None:
    side = make()
    assert "reading the request" in repr(side) or "first byte" in repr(side)
    Story(side).hears(handshake).reports(REQUEST)
    assert "a reply is due" in repr(side)
    assert "192.0.2.1" not in repr(side)
