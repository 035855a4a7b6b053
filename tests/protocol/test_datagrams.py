"""Datagrams in a stream and under SOCKS5, however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.playbook import cuts
from wraith.protocol import datagrams
from wraith.protocol.datagrams import MAX_PARCEL, MOST_AT_ONCE, FrameReader, frames, parcel_of
from wraith.protocol.socks5.messages import MessageError
from wraith.values.address import TcpDestination

PARTNERS = [
    ("192.0.2.1", 53, "01 c0000201 0035"),
    ("2001:db8::1", 443, "04 20010db8000000000000000000000001 01bb"),
    ("dns.example", 53, "03 0b 646e732e6578616d706c65 0035"),
]


@pytest.mark.parametrize(("host", "port", "written"), PARTNERS)
def test_an_address_is_split_from_its_payload_and_read(host: str, port: int, written: str) -> None:
    address = bytes.fromhex(written)
    assert datagrams.encode_address(host, port) == address
    for payload in (b"", b"x", bytes(9000)):
        assert datagrams.split(address + payload) == (address, payload)
    assert datagrams.decode_address(address) == TcpDestination(host, port)


@pytest.mark.parametrize(("host", "port", "written"), PARTNERS)
def test_an_address_cut_short_is_none(host: str, port: int, written: str) -> None:
    address = bytes.fromhex(written)
    for length in range(len(address)):
        with pytest.raises(MessageError):
            datagrams.split(address[:length])
        with pytest.raises(MessageError):
            datagrams.decode_address(address[:length])


@pytest.mark.parametrize("written", ["02 00000000 0035", "00", "ff 01 61 0035"])
def test_an_unknown_type_is_none(written: str) -> None:
    with pytest.raises(MessageError):
        datagrams.split(bytes.fromhex(written))


@pytest.mark.parametrize("written", ["03 00 0035", "03 01 ff 0035", "03 02 612f 0035"])
def test_a_name_that_no_host_can_have_is_split_and_not_read(written: str) -> None:
    address, _ = datagrams.split(bytes.fromhex(written))
    with pytest.raises(MessageError):
        datagrams.decode_address(address)


def test_frames_are_read_wherever_the_stream_is_cut() -> None:
    parcels = [b"", b"a", bytes(300), b"the last"]
    for pieces in cuts(frames(parcels)):
        reader = FrameReader()
        assert [parcel for piece in pieces for parcel in reader.receive_data(piece)] == parcels
        assert repr(reader) == "<FrameReader holds=0>"


@given(
    st.lists(st.binary(max_size=400), max_size=12),
    st.binary(max_size=2).filter(lambda rest: len(rest) < 2 or rest > b"\0\0"),
    st.lists(st.integers(1, 500), max_size=20),
)
def test_any_parcels_survive_any_cuts(
    parcels: list[bytes], rest: bytes, lengths: list[int]
) -> None:
    data, reader, got = frames(parcels) + rest, FrameReader(), []
    for length in [*lengths, len(data)]:
        got += reader.receive_data(data[:length])
        data = data[length:]
    assert got == parcels
    assert repr(reader) == f"<FrameReader holds={len(rest)}>"


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=3000), max_size=60))
def test_whatever_comes_no_more_is_kept_than_a_frame(pieces: list[bytes]) -> None:
    reader = FrameReader()
    for piece in pieces:
        reader.receive_data(piece)
        assert len(reader._incoming) <= 2 + MAX_PARCEL


def test_of_a_heap_of_crumbs_only_so_many_are_taken_and_the_stream_goes_on() -> None:
    reader = FrameReader()
    heap = frames([b"crumb"] * (MOST_AT_ONCE + 500))
    assert reader.receive_data(heap[:-3]) == [b"crumb"] * MOST_AT_ONCE
    assert reader.receive_data(heap[-3:] + frames([b"next"])) == [b"crumb", b"next"]


def test_what_is_too_long_for_a_frame_is_left_out() -> None:
    assert frames([bytes(MAX_PARCEL + 1), b"short"]) == b"\0\5short"
    longest = bytes(MAX_PARCEL)
    assert FrameReader().receive_data(frames([longest])) == [longest]


def test_a_parcel_of_a_socks5_datagram() -> None:
    parcel = bytes.fromhex("01 c0000201 0035") + b"payload"
    assert parcel_of(b"\0\0\0" + parcel) == parcel
    assert parcel_of(b"\xff\xff\0" + parcel) == parcel, "reserved may be anything"


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\0\0", b"\0\0\0", b"\0\0\0\1\1", b"\0\0\1\1" + bytes(10), b"\0\0\x80\1" + bytes(10)],
)
def test_fragments_and_fragments_of_datagrams_are_dropped(datagram: bytes) -> None:
    assert parcel_of(datagram) is None


@given(st.binary(max_size=40))
def test_no_datagram_raises(datagram: bytes) -> None:
    parcel = parcel_of(datagram)
    assert parcel is None or datagrams.split(parcel)
