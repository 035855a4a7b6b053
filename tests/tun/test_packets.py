"""Packets: whose they are, other ends for them, and answers of our own."""

import random
import struct
from ipaddress import ip_address

import pytest

from tests.tun.frames import NAIVE, checksums_hold, segment, split, udp
from wraith_tun.packets import (
    ACK,
    IPV4,
    IPV6,
    LARGEST,
    RST,
    SYN,
    VNET,
    Ends,
    Redirect,
    Unreachable,
    Version,
    checksum,
    datagram,
    payload,
    redirect,
    refusal,
    unreachable,
    version_of,
)

VERSIONS = pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])


def ends(v6: bool, *, reverse: bool = False) -> bytes:
    a, b = ("2001:db8::1", "2001:db8::2") if v6 else ("192.0.2.1", "198.51.100.9")
    source, destination = ip_address(a).packed, ip_address(b).packed
    whole = source + destination + struct.pack(">HH", 40000, 443)
    return Ends.of(whole).reversed() if reverse else whole


@VERSIONS
def test_the_ends_of_an_answer_are_those_of_the_question_turned_round(v6: bool) -> None:
    there, back = Ends.of(ends(v6)), Ends.of(ends(v6, reverse=True))
    assert (there.source, there.source_port) == (back.destination, back.destination_port)
    assert (there.destination, there.destination_port) == (back.source, back.source_port)
    assert Ends.of(there.reversed()).reversed() == ends(v6)


class TestWhichPacketsAreUnderstood:
    @VERSIONS
    def test_tcp_and_udp_with_a_plain_header(self, v6: bool) -> None:
        version = IPV6 if v6 else IPV4
        for packet in (segment(ends(v6), SYN), udp(ends(v6), b"hello")):
            assert version_of(packet, len(packet)) is version

    @VERSIONS
    def test_no_packet_that_is_cut_short(self, v6: bool) -> None:
        packet = segment(ends(v6), SYN)
        for size in range(VNET + 1, len(packet)):
            assert version_of(packet, size) is None

    def test_no_fragment_and_no_option(self) -> None:
        packet = bytearray(udp(ends(False), b"hello"))
        for at, value in ((VNET, 0x46), (VNET + 6, 0x20), (VNET + 7, 1), (VNET, 0x15)):
            odd = bytearray(packet)
            odd[at] = value
            assert version_of(odd, len(odd)) is None

    def test_a_packet_that_must_not_be_fragmented_is_none(self) -> None:
        packet = bytearray(udp(ends(False), b"hello"))
        packet[VNET + 6] = 0x40
        assert version_of(packet, len(packet)) is IPV4


class TestOtherEnds:
    @VERSIONS
    @pytest.mark.parametrize("size", [0, 1, 2, 1400, 65535 - 60])
    def test_are_put_in_and_the_sums_hold(self, v6: bool, size: int) -> None:
        old, new = ends(v6), ends(v6, reverse=True)[:-4] + b"\x12\x34\x56\x78"
        packet = bytearray(segment(old, ACK, random.Random(size).randbytes(size)))
        redirect(packet, len(packet), Redirect.between(old, new))
        assert split(packet).ends == new
        checksums_hold(packet)

    @VERSIONS
    def test_leave_everything_else_as_it_was(self, v6: bool) -> None:
        old, new = ends(v6), ends(v6, reverse=True)
        packet = bytearray(segment(old, ACK, b"payload"))
        packet[1:6] = struct.pack("=BHH", 1, 66, 1400)  # a segment that the kernel is to cut
        before = split(packet)
        redirect(packet, len(packet), Redirect.between(old, new))
        after = split(packet)
        assert after.rest == before.rest
        assert packet[1:6] == struct.pack("=BHH", 1, 66, 1400)

    @VERSIONS
    def test_and_back_again_give_the_same_packet(self, v6: bool) -> None:
        old, new = ends(v6), ends(v6, reverse=True)
        packet = bytearray(segment(old, ACK, b"payload"))
        redirect(packet, len(packet), Redirect.between(old, old))
        before = bytes(packet)
        redirect(packet, len(packet), Redirect.between(old, new))
        redirect(packet, len(packet), Redirect.between(new, old))
        assert bytes(packet) == before

    def test_touch_nothing_beyond_the_packet(self) -> None:
        packet = segment(ends(False), ACK)
        buffer = bytearray(packet + b"\xee" * 100)
        redirect(buffer, len(packet), Redirect.between(ends(False), ends(False, reverse=True)))
        assert buffer[len(packet) :] == b"\xee" * 100


def test_the_checksum_is_that_of_the_naive_twin() -> None:
    source = random.Random(1071)
    for _ in range(2000):
        data = source.randbytes(2 * source.randrange(40))
        assert checksum(data) in (NAIVE(data), NAIVE(data) % 0xFFFF)


class TestAReset:
    @VERSIONS
    def test_of_a_syn_acknowledges_it(self, v6: bool) -> None:
        answer = refusal(segment(ends(v6), SYN, sequence=0xFFFFFFFF), version(v6))
        assert answer is not None
        got = split(answer)
        assert got.ends == ends(v6, reverse=True)
        assert (got.sequence, got.acknowledged, got.flags) == (0, 0, RST | ACK)
        checksums_hold(answer)

    @VERSIONS
    def test_of_another_segment_stands_where_it_was_expected(self, v6: bool) -> None:
        answer = refusal(segment(ends(v6), ACK, acknowledged=77), version(v6))
        assert answer is not None
        assert (split(answer).sequence, split(answer).flags) == (77, RST)

    @VERSIONS
    def test_is_never_reset(self, v6: bool) -> None:
        assert refusal(segment(ends(v6), RST), version(v6)) is None


class TestAnUnreachable:
    @VERSIONS
    @pytest.mark.parametrize("why", Unreachable)
    def test_comes_from_the_destination_and_quotes_the_packet(
        self, v6: bool, why: Unreachable
    ) -> None:
        packet = udp(ends(v6), b"x" * 2000)
        answer = unreachable(packet, version(v6), why)
        size, width = (40, 16) if v6 else (20, 4)
        at = VNET + version(v6).ends
        assert answer[at : at + width] == Ends.of(ends(v6)).destination
        assert answer[at + width : at + 2 * width] == Ends.of(ends(v6)).source
        body = answer[VNET + size :]
        assert tuple(body[:2]) == (version(v6).unreachable, why.value[v6])
        assert body[8:] == packet[VNET : VNET + 548]
        checksums_hold(answer)


class TestADatagram:
    @VERSIONS
    @pytest.mark.parametrize("size", [0, 1, 9, 1400])
    def test_carries_what_it_was_made_of(self, v6: bool, size: int) -> None:
        data = random.Random(size).randbytes(size)
        packet = datagram(ends(v6), data)
        assert version_of(packet, len(packet)) is version(v6)
        assert payload(packet, version(v6)) == data
        assert split(packet).ends == ends(v6)
        checksums_hold(packet)

    def test_whose_length_lies_gives_no_more_than_there_is(self) -> None:
        packet = bytearray(datagram(ends(False), b"hello"))
        packet[VNET + 24 : VNET + 26] = b"\xff\xff"
        assert payload(bytes(packet), IPV4) == b"hello"
        packet[VNET + 24 : VNET + 26] = b"\0\0"
        assert payload(bytes(packet), IPV4) == b""


def version(v6: bool) -> Version:
    return IPV6 if v6 else IPV4


def test_no_packet_at_random_raises() -> None:
    """And what is redirected keeps its size. The interop tests run a million."""
    fuzz_packets(30_000, seed=2)


def fuzz_packets(count: int, seed: int) -> int:
    """Feed packets that are mutations of good ones; returns how many were understood."""
    source, understood = random.Random(seed), 0
    good = [
        f(ends(v6), *more)
        for v6 in (False, True)
        for f, more in ((segment, (SYN,)), (udp, (b"x" * 30,)))
    ]
    to = [Redirect.between(ends(v6), ends(v6, reverse=True)) for v6 in (False, True)]
    buffer = bytearray(LARGEST)
    for _ in range(count):
        packet = bytearray(source.choice(good))
        for _ in range(source.randrange(4)):
            packet[source.randrange(len(packet))] = source.randrange(256)
        size = source.randint(1, len(packet))
        buffer[:size] = packet[:size]
        found = version_of(buffer, size)
        if found is None:
            continue
        understood += 1
        whole = bytes(buffer[:size])
        payload(whole, found)
        unreachable(whole, found, Unreachable.HOST)
        if whole[VNET + found.protocol] == 6:
            refusal(whole, found)
            redirect(buffer, size, to[found is IPV6])
    return understood
