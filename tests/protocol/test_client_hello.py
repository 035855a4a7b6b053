"""What OpenSSL's own hellos ask for, however they are cut, and what is none."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.protocol.client_hello import MAX_HELLO_BYTES, ClientHello, read_client_hello
from wraith.protocol.events import NEED_DATA


def hello(name: str | None = "gw.example.com", protocols: tuple[str, ...] = ()) -> bytes:
    """As OpenSSL writes it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    """The same message, cut into smaller records."""
    message = data[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(data[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize(
    ("name", "protocols"),
    [
        ("gw.example.com", ()),
        ("GW.Example.COM", ("acme-tls/1",)),
        ("1.0.0.127.in-addr.arpa", ("acme-tls/1", "http/1.1", "h2")),
        (None, ("h2",)),
        (None, ()),
    ],
)
def test_what_is_asked_for(name: str | None, protocols: tuple[str, ...]) -> None:
    expected = ClientHello((name or "").lower(), tuple(map(str.encode, protocols)))
    data = hello(name, protocols)
    assert read_client_hello(data) == expected
    assert read_client_hello(data + b"and more") == expected
    for size in (1, 7, 100):
        assert read_client_hello(in_records(data, size)) == expected


def test_nothing_is_said_before_it_is_complete() -> None:
    data = in_records(hello(protocols=("acme-tls/1",)), 50)
    for length in range(len(data)):
        assert read_client_hello(data[:length]) is NEED_DATA


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x02\x00\x00\x01\x01",
        b"\x16\x03\x01\x00\x00\x01",
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x16\x03\x01\x00\x01\x02\x16\x03\x01\x00\x01",
        b"\x16\x03\x01\x00\x01\x01\x17",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
)
def test_what_is_no_hello(data: bytes) -> None:
    assert read_client_hello(data) is None


def test_a_name_of_another_kind_is_none() -> None:
    data = hello("gw.example.com")
    at = data.index(b"gw.example.com")
    assert read_client_hello(data[: at - 3] + b"\7" + data[at - 2 :]) == ClientHello()


def test_a_hello_without_end_is_given_up() -> None:
    begins, record = b"\x01\xff\xff\xff" + bytes(16380), b"\x16\x03\x01\x40\x00"
    endless = record + begins + (record + bytes(16384)) * 2
    assert read_client_hello(endless[:MAX_HELLO_BYTES]) is NEED_DATA
    assert read_client_hello(endless) is None


@given(st.binary(max_size=200), st.integers(0, 517))
def test_any_bytes_are_a_hello_or_none_or_not_yet(data: bytes, at: int) -> None:
    for bytes_ in (data, b"\x16\x03\x01\x00\xc8\x01" + data, HELLO[:at] + data + HELLO[at:]):
        told = read_client_hello(bytes_)
        assert told is None or told is NEED_DATA or isinstance(told, ClientHello)


HELLO = hello(protocols=("acme-tls/1",))
