"""However the bytes are cut and whatever they are, the machines behave."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.playbook import Machine, Outcome, converse
from wraith.errors import Refusal
from wraith.protocol.events import (
    NEED_DATA,
    Connected,
    ConnectRequest,
    Failed,
    Malformed,
    PacRequest,
    UdpAssociateRequest,
)
from wraith.protocol.http_connect import HttpConnectClient
from wraith.protocol.http_head import MAX_HEAD_BYTES
from wraith.protocol.http_proxy import HttpProxyServer
from wraith.protocol.local_port import LocalPortServer
from wraith.protocol.machine import Machine as ProtocolMachine
from wraith.protocol.socks4 import Socks4Server
from wraith.protocol.socks5 import messages
from wraith.protocol.socks5.client import Socks5Client
from wraith.protocol.socks5.messages import Command
from wraith.protocol.socks5.server import Socks5Server
from wraith.protocol.ssh_reason import decode_refusal
from wraith.values.address import TcpDestination
from wraith.values.credentials import Credentials

ME = Credentials("me", "pwd")

hosts = st.from_regex(r"[a-zü0-9]{1,20}", fullmatch=True) | st.ip_addresses().map(str)
destinations = st.builds(TcpDestination, hosts, st.integers(0, 65535))


def socks5(destination: TcpDestination) -> bytes:
    return b"\x05\x01\x00" + messages.encode_request(Command.CONNECT, destination)


def socks4(destination: TcpDestination) -> bytes:
    port = destination.port.to_bytes(2, "big")
    return b"\x04\x01" + port + b"\0\0\0\1me\0" + destination.host.encode() + b"\0"


def http(destination: TcpDestination) -> bytes:
    return b"CONNECT %b HTTP/1.1\r\nA: b\r\n\r\n" % destination.reveal().encode()


handshakes = st.builds(
    lambda write, destination: (write(destination), destination),
    st.sampled_from([socks5, socks4, http]),
    destinations,
)

# Bytes that begin well, so that the later stages meet garbage too.
beginnings = st.sampled_from(
    [
        b"",
        b"\x05\x01\x00",
        b"\x05\x01\x00\x05\x01\x00",
        b"\x05\x01\x00\x05\x01\x00\x03",
        b"\x05\x01\x02\x01",
        b"\x04\x01\0\x50",
        b"\x04\x01\0\x50\0\0\0\1",
        b"CONNECT ",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"GET http://a",
        b"GET /proxy.pac HTTP/1.1\r\nHost: ",
    ]
)
garbage = st.builds(
    bytes.__add__,
    beginnings,
    st.binary(max_size=300)
    | st.text(st.sampled_from("\r\n: /a1\0"), max_size=60).map(str.encode)
    | st.just(b"\r\n\r\n"),
)
pieces = st.lists(st.integers(1, 12), max_size=30)


def cut(data: bytes, lengths: list[int]) -> list[bytes]:
    cut_up = []
    for length in lengths:
        cut_up.append(data[:length])
        data = data[length:]
    return [*cut_up, data]


SERVERS: list[Callable[[], Machine[object]]] = [
    Socks5Server,
    lambda: Socks5Server(ME),
    Socks4Server,
    HttpProxyServer,
    lambda: HttpProxyServer(ME),
    LocalPortServer,
    lambda: LocalPortServer(ME),
]


@given(handshakes, st.binary(max_size=20), pieces)
def test_every_request_is_understood_however_it_is_cut(
    handshake: tuple[bytes, TcpDestination], trailing: bytes, lengths: list[int]
) -> None:
    data, destination = handshake
    outcome = converse(LocalPortServer(), cut(data + trailing, lengths))
    assert outcome.event == ConnectRequest(destination)
    assert outcome.trailing == trailing


@pytest.mark.parametrize("make", SERVERS)
@settings(max_examples=60)
@given(data=garbage, lengths=pieces)
def test_garbage_ends_in_a_documented_event(
    make: Callable[[], Machine[object]], data: bytes, lengths: list[int]
) -> None:
    whole: Outcome[object] = converse(make(), [data])
    documented = ConnectRequest | UdpAssociateRequest | PacRequest | Failed
    assert whole.event is NEED_DATA or isinstance(whole.event, documented)
    assert converse(make(), cut(data, lengths)) == whole


@settings(max_examples=60)
@given(st.lists(st.sampled_from([b"\5", b"\0", b"\2", b"\1", b"\5\0\0\1", b"abcdef"]), max_size=12))
def test_a_proxy_may_say_anything(answers: list[bytes]) -> None:
    client = Socks5Client(TcpDestination("a", 1), ME)
    for answer in answers:
        client.receive_data(answer)
        client.next_event()
    whole = Socks5Client(TcpDestination("a", 1), ME)
    whole.receive_data(b"".join(answers))
    assert client.next_event() == whole.next_event()
    assert client.data_to_send() == whole.data_to_send()


beginnings_of_answers = st.sampled_from(
    [
        b"",
        b"HTTP/1.1 ",
        b"HTTP/1.1 100 Wait\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b",
        b"HTTP/1.1 502 No\r\n",
    ]
)


@given(
    beginnings_of_answers,
    st.text(st.sampled_from("\r\n: /a1\0H"), max_size=60).map(str.encode),
    st.data(),
)
def test_an_http_proxy_may_answer_anything_in_any_pieces(
    beginning: bytes, rest: bytes, data: st.DataObject
) -> None:
    destination = TcpDestination("a", 1)
    cut, whole = HttpConnectClient(destination, ME), HttpConnectClient(destination, ME)
    left = beginning + rest
    whole.receive_data(left)
    while left and cut.next_event() is NEED_DATA:
        size = data.draw(st.integers(1, len(left)))
        cut.receive_data(left[:size])
        left = left[size:]
    assert type(cut.next_event()) is type(whole.next_event())
    if isinstance(cut.next_event(), Connected):
        assert cut.trailing_data() + left == whole.trailing_data()


@given(st.binary(max_size=300))
def test_a_proxy_that_is_none(data: bytes) -> None:
    client = Socks5Client(TcpDestination("a", 1))
    client.receive_data(b"\x04" + data)
    assert isinstance(client.next_event(), Malformed)


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (Socks5Server, 262),
        (lambda: Socks5Server(ME), 513),
        (Socks4Server, 8 + 2 * 256),
        (HttpProxyServer, MAX_HEAD_BYTES),
    ],
)
@settings(max_examples=20)
@given(start=beginnings, filler=st.sampled_from([b"\xff", b"a", b"\x05", b"a: b\r\n"]))
def test_nobody_makes_us_keep_more_than_the_limit(
    make: Callable[[], ProtocolMachine], limit: int, start: bytes, filler: bytes
) -> None:
    """Feed and ask as a driver does, which reads no more once the machine has an event."""
    machine = make()
    step = filler * (64 // len(filler))
    for piece in [start, *[step] * (limit // 32)]:
        machine.receive_data(piece)
        if machine.next_event() is not NEED_DATA:  # type: ignore[attr-defined]
            break
        assert len(machine._incoming) <= limit
    else:
        raise AssertionError("it waited for ever")


@given(st.integers(0, 2**32 - 1), st.text(max_size=60))
def test_any_reason_is_some_refusal(code: int, reason: str) -> None:
    assert isinstance(decode_refusal(code, reason), Refusal)
