"""Ids, addresses, tickets and relays, as `--peer` and `--iroh-relay` take them."""

from __future__ import annotations

import base64
import contextlib

import iroh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.errors import UsageError
from wraith.values.address import HostPort
from wraith.values.iroh_peer import (
    MAX_TICKET,
    NO_RELAY,
    PUBLIC_RELAYS,
    IrohPeer,
    RelayChoice,
    parse_iroh_peer,
    parse_relay,
    parse_ticket,
    ticket,
)

RAW = iroh.SecretKey.from_bytes(b"\x01" * 32).public().to_bytes()
ID = RAW.hex()
RELAY = "https://relay.example.com./"


def encoded(record: bytes) -> str:
    return "endpoint" + base64.b32encode(record).decode().rstrip("=").lower()


def test_an_id_is_64_hex_digits_of_either_case() -> None:
    peer = parse_iroh_peer(ID.upper())
    assert peer == IrohPeer(ID)
    assert peer.is_bare
    assert str(peer) == ID


def test_an_id_may_be_base32_as_iroh_prints_it_elsewhere() -> None:
    text = base64.b32encode(RAW).decode().rstrip("=").lower()
    assert parse_iroh_peer(text) == IrohPeer(ID)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:4433", HostPort("127.0.0.1", 4433)),
        ("[2001:db8::1]:1", HostPort("2001:db8::1", 1)),
        ("gw.example.com:4433", HostPort("gw.example.com", 4433)),
    ],
)
def test_an_id_may_say_where_it_is(text: str, address: HostPort) -> None:
    peer = parse_iroh_peer(f"{ID}@{text}")
    assert peer == IrohPeer(ID, (address,))
    assert not peer.is_bare
    assert str(peer) == f"{ID}@{text}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "does not have 32 bytes"),
        ("gw.example.com", "neither hex nor base32"),
        ("zz" * 32, "neither hex nor base32"),
        ("a1" * 31, "neither hex nor base32"),
        ("ac" * 32, "the id is no public key"),
        ("aaaa", "does not have 32 bytes"),
        (f"{ID}@127.0.0.1", "the port is missing"),
        (f"{ID}@127.0.0.1:0", "port 0"),
        (f"{ID}@", "the host is empty"),
        (f"{ID}@one:1@two:2", "does not have|do not have"),
    ],
)
def test_what_is_no_peer_is_told_in_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_iroh_peer(text)


@given(st.binary(min_size=32, max_size=32))
def test_an_id_is_a_public_key_where_iroh_says_so(raw: bytes) -> None:
    point = iroh.EndpointId.from_bytes
    try:
        point(raw)
    except iroh.IrohError:
        with pytest.raises(UsageError, match="no public key"):
            parse_iroh_peer(raw.hex())
    else:
        assert parse_iroh_peer(raw.hex()).id == raw.hex()


# Tickets


def test_a_ticket_of_irohs_own_is_understood_and_printed_alike() -> None:
    key = iroh.SecretKey.generate().public()
    where = iroh.EndpointAddr(key, RELAY, ["203.0.113.7:4433", "[2001:db8::1]:65535"])
    text = str(iroh.EndpointTicket.from_addr(where))
    peer = parse_iroh_peer(text)
    addresses = (HostPort("203.0.113.7", 4433), HostPort("2001:db8::1", 65535))
    assert peer == IrohPeer(str(key), addresses, RELAY)
    assert ticket(peer) == text
    assert parse_iroh_peer(text.upper()) == peer


ADDRESSES = st.builds(
    HostPort,
    st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)),
    st.integers(1, 65535),
)
PEERS = st.builds(
    IrohPeer,
    st.binary(min_size=32, max_size=32).map(
        lambda key: str(iroh.SecretKey.from_bytes(key).public())
    ),
    st.lists(ADDRESSES, max_size=5).map(tuple),
    st.sampled_from([None, RELAY, "http://127.0.0.1:3340/", "https://" + "a" * 150 + ".example/"]),
)


@given(PEERS)
def test_what_is_printed_is_read_again(peer: IrohPeer) -> None:
    assert parse_ticket(ticket(peer)) == peer


@given(PEERS, st.data())
def test_a_ticket_that_was_cut_or_changed_is_refused_or_another_peer(
    peer: IrohPeer, data: st.DataObject
) -> None:
    text = ticket(peer)
    at = data.draw(st.integers(8, len(text) - 1))
    other = data.draw(st.sampled_from("abcz27=!\x00é"))
    for changed in (text[:at], text[:at] + other + text[at + 1 :], text + other):
        with contextlib.suppress(UsageError):
            parse_ticket(changed)


@given(st.binary(max_size=80))
def test_any_record_is_read_or_refused(record: bytes) -> None:
    try:
        peer = parse_ticket(encoded(record))
    except UsageError:
        return
    assert parse_ticket(ticket(peer)) == peer


V4 = bytes((1, 0, 127, 0, 0, 1))


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (b"", "cut short"),
        (b"\x01" + RAW + b"\x00", "of a version that is not known"),
        (b"\x00" + RAW[:20], "cut short"),
        (b"\x00" + bytes.fromhex("ac" * 32) + b"\x00", "the id is no public key"),
        (b"\x00" + RAW, "cut short"),
        (b"\x00" + RAW + b"\x01\x02", "address of a kind that is not known"),
        (b"\x00" + RAW + b"\x01\x01\x02", "address of a kind that is not known"),
        (b"\x00" + RAW + b"\x01" + V4 + b"\x00", "impossible port"),
        (b"\x00" + RAW + b"\x01" + V4 + b"\xff\xff\x7f", "impossible port"),
        (b"\x00" + RAW + b"\x01\x00\x02\xff\xfe", "its relay is no text"),
        (b"\x00" + RAW + b"\x01\x00\x03ftp", "no http:// or https:// URL"),
        (b"\x00" + RAW + b"\x00!", "more than it should"),
        (b"\x00" + RAW + b"\xff\xff\xff\xff\xff\x01", "impossible number"),
    ],
)
def test_a_record_that_is_wrong_is_told_apart(record: bytes, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parse_ticket(encoded(record))
    assert caught.value.hint is not None
    assert "copy it again" in caught.value.hint


def test_a_text_that_is_no_ticket_is_refused_before_it_is_read() -> None:
    with pytest.raises(UsageError, match="too long"):
        parse_ticket("endpoint" + "a" * MAX_TICKET)
    with pytest.raises(UsageError, match="not base32"):
        parse_ticket("endpoint!!!!")


def test_of_several_relays_the_first_is_taken() -> None:
    one, two = b"https://one.example/", b"https://two.example/"
    entries = bytes((0, len(one))) + one + bytes((0, len(two))) + two
    assert parse_ticket(encoded(b"\x00" + RAW + b"\x02" + entries)).relay == one.decode()


# Relays


def test_the_public_relays_are_the_default() -> None:
    assert parse_relay(None) == PUBLIC_RELAYS
    assert str(PUBLIC_RELAYS) == "public"
    assert not PUBLIC_RELAYS.is_disabled


def test_relays_can_be_done_without() -> None:
    assert parse_relay("disabled") == NO_RELAY
    assert str(NO_RELAY) == "disabled"
    assert NO_RELAY.is_disabled


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://relay.example.com", "https://relay.example.com/"),
        ("HTTPS://relay.example.com/", "https://relay.example.com/"),
        ("http://127.0.0.1:3340", "http://127.0.0.1:3340/"),
        ("https://[2001:db8::1]:443", "https://[2001:db8::1]:443/"),
    ],
)
def test_a_relay_is_a_url(text: str, url: str) -> None:
    choice = parse_relay(text)
    assert choice == RelayChoice(url)
    assert str(choice) == url
    assert not choice.is_disabled


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relay.example.com",
        "off",
        "ftp://relay.example.com",
        "https://",
        "https://relay.example.com/path",
        "https://relay.example.com?query",
        "https://relay.example.com#part",
        "https://user:secret@relay.example.com",
        "https://relay.example.com:port",
        "https://rèlay.example.com",
    ],
)
def test_what_is_no_relay_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot use this iroh relay") as caught:
        parse_relay(text)
    assert "secret" not in str(caught.value)
