"""Virtual DNS: every name has an address, and nothing that arrives can upset it."""

import random
import struct
from ipaddress import IPv4Network, ip_address

import pytest

from wraith_tun.dns import AAAA, PTR, RESERVED, TTL, A, Names, answer

NETWORK = IPv4Network("198.18.0.0/15")
HTTPS, MX, TXT = 65, 15, 16


def query(name: str, kind: int = A, *, edns: bool = False, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part)
    head = b"\x12\x34" + struct.pack(">HHHHH", flags, 1, 0, 0, edns)
    extra = b"\0\0\x29\x10\0\0\0\0\0\0\0" if edns else b""
    return head + labels + b"\0" + struct.pack(">HH", kind, 1) + extra


class Answer:
    """An answer, read with care."""

    def __init__(self, data: bytes | None, asked: bytes) -> None:
        assert data is not None
        assert data[:2] == asked[:2]
        self.flags, self.questions, count, authority, self.extra = struct.unpack_from(
            ">HHHHH", data, 2
        )
        assert authority == 0
        assert self.flags & 0x8000
        self.rcode = self.flags & 15
        at = 12
        if self.questions:
            end = asked.index(b"\0", 12) + 5
            assert data[12:end] == asked[12:end]
            at = end
        self.records = []
        for _ in range(count):
            pointer, kind, family, ttl, size = struct.unpack_from(">HHHIH", data, at)
            assert (pointer, family, ttl) == (0xC00C, 1, TTL)
            self.records.append((kind, data[at + 12 : at + 12 + size]))
            at += 12 + size
        if self.extra:
            assert data[at] == 0
            assert data[at + 1 : at + 3] == b"\0\x29"
            at += 11
        assert at == len(data)


def ask(names: Names, name: str, kind: int = A, **options: int) -> Answer:
    asked = query(name, kind, **options)  # type: ignore[arg-type]
    return Answer(answer(names, asked), asked)


@pytest.fixture
def names() -> Names:
    return Names(NETWORK)


class TestAName:
    def test_has_an_address_of_our_network_and_keeps_it(self, names: Names) -> None:
        (first,), (second,) = ask(names, "example.com").records, ask(names, "EXAMPLE.com").records
        assert first == second
        assert ip_address(first[1]) in NETWORK
        assert names.name(first[1]) == "example.com"

    def test_has_none_of_the_reserved_addresses(self) -> None:
        names = Names(IPv4Network("10.0.0.0/22"))
        for number in range(2000):
            address = names.address(f"host{number}.example")
            assert address is not None
            offset = int(ip_address(address)) - int(ip_address("10.0.0.0"))
            assert RESERVED <= offset < 1023

    @pytest.mark.parametrize("kind", [AAAA, HTTPS, MX, TXT, 255])
    def test_has_nothing_else(self, names: Names, kind: int) -> None:
        found = ask(names, "example.com", kind)
        assert (found.rcode, found.records) == (0, [])

    def test_is_found_again_from_its_address(self, names: Names) -> None:
        ((_, address),) = ask(names, "www.example.com").records
        reverse = ".".join(map(str, reversed(address))) + ".in-addr.arpa"
        assert ask(names, reverse, PTR).records == [(PTR, b"\3www\7example\3com\0")]

    @pytest.mark.parametrize(
        "reverse", ["1.2.3.4.in-addr.arpa", "9.9.19.198.in-addr.arpa", "a.b.c.d.in-addr.arpa"]
    )
    def test_behind_another_address_there_is_none(self, names: Names, reverse: str) -> None:
        assert ask(names, reverse, PTR).rcode == 3

    @pytest.mark.parametrize(
        "name", ["printer.local", "local", "use-application-dns.net", "x.invalid", "8.e.f.ip6.arpa"]
    )
    def test_that_must_not_exist_does_not(self, names: Names, name: str) -> None:
        assert ask(names, name).rcode == 3

    def test_of_this_machine_is_this_machine(self, names: Names) -> None:
        assert ask(names, "localhost").records == [(A, b"\x7f\0\0\1")]
        assert ask(names, "a.localhost", AAAA).records == [(AAAA, bytes(15) + b"\1")]
        assert ask(names, "localhost", TXT).records == []

    def test_that_only_looks_like_a_special_one_is_ordinary(self, names: Names) -> None:
        assert ask(names, "mylocal").records
        assert ask(names, "notlocalhost").records

    def test_of_the_root_has_nothing(self, names: Names) -> None:
        assert ask(names, "").records == []

    def test_that_goes_round_the_tunnel_has_its_true_addresses(self) -> None:
        real = {"gw.example": ["203.0.113.7", "2001:db8::7"]}
        names = Names(NETWORK, real)
        assert ask(names, "gw.example").records == [(A, b"\xcb\0\x71\7")]
        assert ask(names, "gw.example", AAAA).records == [(AAAA, ip_address("2001:db8::7").packed)]
        assert ask(names, "gw.example", TXT).records == []


class TestAnAddress:
    def test_of_the_real_world_is_none_of_ours(self, names: Names) -> None:
        assert names.name(b"\x08\x08\x08\x08") is None
        assert names.name(bytes(16)) is None

    def test_never_given_out_has_no_name(self, names: Names) -> None:
        assert names.name(b"\xc6\x12\x09\x09") == ""

    def test_of_an_earlier_run_means_nothing_in_the_next(self) -> None:
        old = Names(NETWORK, start=1000).address("old.example")
        assert old is not None
        assert Names(NETWORK, start=90_000).name(old) == ""

    def test_least_recently_used_goes_to_another_name(self) -> None:
        names = Names(IPv4Network("10.0.0.0/22"))
        first = names.address("first.example")
        assert first is not None
        second = names.address("second.example")
        names.name(first)  # used again
        for number in range(766):
            names.address(f"{number}.example")
        assert second is not None
        assert names.name(first) == "first.example"
        assert names.name(second) == "765.example"

    def test_in_use_is_kept_and_when_all_are_there_is_no_more(self) -> None:
        names = Names(IPv4Network("10.0.0.0/22"))
        size = 1024 - RESERVED - 1
        given = [names.address(f"{number}.example") for number in range(size)]
        for address in given:
            assert address is not None
            names.use(address)
            names.use(address)
        assert ask(names, "one-more.example").rcode == 2
        assert given[5] is not None
        names.release(given[5])
        assert names.address("one-more.example") is None
        names.release(given[5])
        assert names.address("one-more.example") == given[5]


class TestAQuery:
    def test_with_edns_is_answered_with_edns(self, names: Names) -> None:
        assert ask(names, "example.com", edns=True).extra == 1
        assert ask(names, "example.com").extra == 0

    def test_keeps_its_flags(self, names: Names) -> None:
        assert ask(names, "example.com", flags=0x0110).flags == 0x8190

    def test_of_another_kind_than_a_question_is_not_implemented(self, names: Names) -> None:
        assert ask(names, "example.com", flags=0x2800).rcode == 4

    @pytest.mark.parametrize("cut", range(12, 29))
    def test_cut_short_is_malformed(self, names: Names, cut: int) -> None:
        data = answer(names, query("example.com")[:cut])
        assert data is not None
        assert data[3] & 15 == 1

    @pytest.mark.parametrize(
        ("label", "rcode"),
        [(b"\xc0\x0c", 1), (b"\3a.b\0", 1), (b"\3a b\0", 1), (b"\3a\x80b\0", 1), (b"\3a_b\0", 0)],
    )
    def test_with_an_odd_label(self, names: Names, label: bytes, rcode: int) -> None:
        data = answer(names, query("")[:12] + label + b"\0\1\0\1")
        assert data is not None
        assert data[3] & 15 == rcode

    def test_with_an_opcode_and_nonsense_is_not_implemented(self, names: Names) -> None:
        data = answer(names, b"\1\2\x28\0" + bytes(8))
        assert data is not None
        assert data[3] & 15 == 4

    def test_with_a_name_as_long_as_may_be(self, names: Names) -> None:
        longest = ".".join(["a" * 63] * 3 + ["b" * 61])
        ((_, address),) = ask(names, longest).records
        assert names.name(address) == longest
        assert ask(names, longest + "b").rcode == 1

    @pytest.mark.parametrize("data", [b"", bytes(11), b"\0\0\x81\x80" + bytes(20)])
    def test_that_is_none_gets_no_answer(self, names: Names, data: bytes) -> None:
        assert answer(names, data) is None


def test_no_query_at_random_raises() -> None:
    fuzz_dns(30_000, seed=1)


def fuzz_dns(count: int, seed: int) -> int:
    """Ask with mutations of good queries; returns how many were answered with no error."""
    source, names, good = random.Random(seed), Names(IPv4Network("10.0.0.0/20")), 0
    seeds = [
        query("www.example.com", edns=True),
        query("1.2.0.10.in-addr.arpa", PTR),
        query("a.localhost", AAAA),
        query(".".join(["x" * 63] * 3)),
    ]
    for _ in range(count):
        data = bytearray(source.choice(seeds))
        for _ in range(source.randrange(5)):
            data[source.randrange(len(data))] = source.randrange(256)
        asked = bytes(data[: source.randint(0, len(data))] if source.random() < 0.3 else data)
        found = answer(names, asked)
        if found is not None:
            assert found[:2] == asked[:2]
            assert len(found) <= len(asked) + 320
            good += found[3] & 15 == 0
    return good
