"""RFC 1928 and RFC 1929, message by message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wraith.protocol.machine import Cursor, Incomplete
from wraith.protocol.socks5 import messages
from wraith.protocol.socks5.messages import Command, MessageError, Method, Reply, Request
from wraith.values.address import HostPort, TcpDestination
from wraith.values.credentials import Credentials

BOTH_METHODS = [Method.NO_AUTHENTICATION_REQUIRED, Method.USERNAME_PASSWORD]
LONG_NAME = "n" * 255

ADDRESSES = [
    ("192.0.2.1", 80, "01 c0000201 0050"),
    ("2001:db8::1", 443, "04 20010db8000000000000000000000001 01bb"),
    ("a.example", 65535, "03 09 612e6578616d706c65 ffff"),
    ("bücher", 0, "03 07 62c3bc63686572 0000"),
    ("fe80::1%eth0", 1, "03 0c 666538303a3a312565746830 0001"),
    (LONG_NAME, 1, "03 ff" + "6e" * 255 + "0001"),
]

# Each message in hexadecimal, how to read it, and what it says.
MESSAGES: list[tuple[str, Callable[[Cursor], object], object]] = [
    ("05 02 00 02", messages.decode_greeting, b"\x00\x02"),
    ("05 00", messages.decode_greeting, b""),
    ("05 ff", messages.decode_choice, 255),
    ("01 02 6d65 03 707764", messages.decode_credentials, (b"me", b"pwd")),
    ("01 00 00", messages.decode_credentials, (b"", b"")),
    ("01 00", messages.decode_status, True),
    ("01 02", messages.decode_status, False),
    ("05 00 00 03 00 0000", messages.decode_reply, (0, HostPort("", 0))),
    ("05 00 00 03 01 ff 0000", messages.decode_reply, (0, HostPort("\\xff", 0))),
    ("05 05", messages.decode_reply, (5, HostPort("", 0))),
]
MESSAGES += [
    (
        f"05 01 00 {written}",
        messages.decode_request,
        Request(Command.CONNECT, TcpDestination(host, port)),
    )
    for host, port, written in ADDRESSES
]
MESSAGES += [
    (f"05 00 00 {written}", messages.decode_reply, (0, HostPort(host, port)))
    for host, port, written in ADDRESSES
]


@pytest.mark.parametrize(("written", "decode", "expected"), MESSAGES)
def test_a_message_is_read_when_it_is_whole(
    written: str, decode: Callable[[Cursor], object], expected: object
) -> None:
    data = bytes.fromhex(written)
    for length in range(len(data)):
        with pytest.raises(Incomplete):
            decode(Cursor(data[:length]))
    for trailing in (b"", b"more"):
        cursor = Cursor(data + trailing)
        assert decode(cursor) == expected
        assert cursor.position == len(data)


@pytest.mark.parametrize(
    ("written", "decode", "reply"),
    [
        ("04", messages.decode_greeting, None),
        ("04", messages.decode_choice, None),
        ("05", messages.decode_credentials, None),
        ("05", messages.decode_status, None),
        ("04", messages.decode_reply, None),
        ("05 00 00 02", messages.decode_reply, Reply.ADDRESS_TYPE_NOT_SUPPORTED),
        ("04", messages.decode_request, Reply.GENERAL_FAILURE),
        ("05 01 00 02", messages.decode_request, Reply.ADDRESS_TYPE_NOT_SUPPORTED),
        ("05 01 00 03 00 0050", messages.decode_request, Reply.GENERAL_FAILURE),
        ("05 01 00 03 01 00 0050", messages.decode_request, Reply.GENERAL_FAILURE),
        ("05 01 00 03 02 610a 0050", messages.decode_request, Reply.GENERAL_FAILURE),
        ("05 01 00 03 01 ff 0050", messages.decode_request, Reply.GENERAL_FAILURE),
    ],
)
def test_a_message_that_cannot_become_right_is_refused_at_once(
    written: str, decode: Callable[[Cursor], object], reply: Reply | None
) -> None:
    with pytest.raises(MessageError) as caught:
        decode(Cursor(bytes.fromhex(written)))
    assert caught.value.reply is reply


def test_brackets_round_a_name_that_is_an_address() -> None:
    request = messages.decode_request(Cursor(b"\x05\x01\x00\x03\x05[::1]\x00\x50"))
    assert request.destination == TcpDestination("::1", 80)


@pytest.mark.parametrize(("host", "port", "written"), ADDRESSES)
def test_addresses_are_written_in_their_shortest_form(host: str, port: int, written: str) -> None:
    assert messages.encode_address(host, port) == bytes.fromhex(written)


def test_a_name_has_255_bytes_at_most() -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        messages.encode_request(Command.CONNECT, TcpDestination("ü" * 128, 80))


def test_the_messages_that_are_written() -> None:
    assert messages.encode_greeting(BOTH_METHODS) == b"\x05\x02\x00\x02"
    assert messages.encode_choice(Method.NO_ACCEPTABLE_METHODS) == b"\x05\xff"
    assert messages.encode_credentials(Credentials("me", "pwd")) == b"\x01\x02me\x03pwd"
    assert messages.encode_status(accepted=True) == b"\x01\x00"
    assert messages.encode_status(accepted=False) == b"\x01\x01"
    request = messages.encode_request(Command.UDP_ASSOCIATE, TcpDestination("192.0.2.1", 53))
    assert request == bytes.fromhex("05 03 00 01 c0000201 0035")


@pytest.mark.parametrize(
    ("bound", "written"),
    [
        (None, "05 00 00 01 00000000 0000"),
        (HostPort("", 80), "05 00 00 01 00000000 0050"),
        (HostPort("::1", 80), "05 00 00 04 00000000000000000000000000000001 0050"),
    ],
)
def test_a_reply_always_has_an_address(bound: HostPort | None, written: str) -> None:
    assert messages.encode_reply(Reply.SUCCEEDED, bound) == bytes.fromhex(written)


def test_a_request_hides_its_destination() -> None:
    assert "secret" not in repr(Request(1, TcpDestination("secret", 80)))


def test_the_words_are_the_rfcs() -> None:
    assert [reply.name for reply in Reply] == [
        "SUCCEEDED",
        "GENERAL_FAILURE",
        "NOT_ALLOWED",
        "NETWORK_UNREACHABLE",
        "HOST_UNREACHABLE",
        "CONNECTION_REFUSED",
        "TTL_EXPIRED",
        "COMMAND_NOT_SUPPORTED",
        "ADDRESS_TYPE_NOT_SUPPORTED",
    ]
    assert [method.value for method in Method] == [0, 1, 2, 255]
