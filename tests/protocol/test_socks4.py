from __future__ import annotations

import pytest

from tests.support.playbook import Outcome, Story, every_cut
from wraith.errors import Refusal
from wraith.protocol.events import NEED_DATA, ConnectRequest, Failed
from wraith.protocol.socks4 import Socks4Reply, Socks4Server
from wraith.values.address import HostPort, TcpDestination

PLAIN = "04 01 0050 c0000201 6d6500"
NAMED = "04 01 01bb 00000001 00 612e6578616d706c6500"
REJECTED = "00 5b 0000 00000000"
TOO_LONG = "61" * 256

ADDRESS = ConnectRequest(TcpDestination("192.0.2.1", 80))
NAME = ConnectRequest(TcpDestination("a.example", 443))


def test_a_program_connects_to_an_address() -> None:
    Story(Socks4Server()).reports(NEED_DATA).hears(PLAIN).reports(ADDRESS).says_nothing().does(
        lambda server: server.accept(HostPort("192.0.2.9", 4000))
    ).says("00 5a 0fa0 c0000209").hears(b"hello").passes_on(b"hello")


def test_a_program_connects_to_a_name_that_cannot_be_reached() -> None:
    Story(Socks4Server()).hears(NAMED).reports(NAME).does(
        lambda server: server.refuse(Refusal.NAME_UNKNOWN)
    ).says(REJECTED)


@pytest.mark.parametrize(
    ("data", "sent", "event"),
    [
        (PLAIN, "", ADDRESS),
        (NAMED, "", NAME),
        ("04 01 0050 00000000 00", "", ConnectRequest(TcpDestination("0.0.0.0", 80))),
        (
            "04 01 0000 00000001 " + "61" * 255 + "00 6100",
            "",
            ConnectRequest(TcpDestination("a", 0)),
        ),
        ("04 01 0050 c0000201 6d65", "", NEED_DATA),
        ("04 01 0050 00000001 00 61", "", NEED_DATA),
        ("05", REJECTED, Failed("unknown version")),
        ("04 02 0050 c0000201 00", REJECTED, Failed("command not supported")),
        ("04 01 0050 00000001 00 00", REJECTED, Failed("the host is no name or address")),
        ("04 01 0050 00000001 00 610a00", REJECTED, Failed("the host is no name or address")),
        ("04 01 0050 00000001 00 ff00", REJECTED, Failed("the host is not UTF-8")),
        (f"04 01 0050 c0000201 {TOO_LONG}", REJECTED, Failed("a text is longer than 255 bytes")),
        (f"04 01 0050 00000001 00 {TOO_LONG}", REJECTED, Failed("a text is longer than 255 bytes")),
    ],
)
def test_conversations(data: str, sent: str, event: object) -> None:
    assert every_cut(Socks4Server, data) == Outcome(event, bytes.fromhex(sent))


@pytest.mark.parametrize("data", [PLAIN, NAMED])
def test_where_it_is_not_allowed_it_is_read_and_rejected(data: str) -> None:
    outcome = every_cut(lambda: Socks4Server(allowed=False), data)
    assert outcome == Outcome(Failed("SOCKS4 is not allowed here"), bytes.fromhex(REJECTED))


@pytest.mark.parametrize(
    ("bound", "written"),
    [
        (None, "00 5a 0000 00000000"),
        (HostPort("::1", 80), "00 5a 0050 00000000"),
        (HostPort("192.0.2.9", 80), "00 5a 0050 c0000209"),
    ],
)
def test_a_grant_has_room_for_ipv4_only(bound: HostPort | None, written: str) -> None:
    Story(Socks4Server()).hears(PLAIN).reports(ADDRESS).does(
        lambda server: server.reply(Socks4Reply.REQUEST_GRANTED, bound)
    ).says(written)


def test_other_commands_are_only_refused() -> None:
    Story(Socks4Server()).hears(PLAIN).reports(ADDRESS).does(Socks4Server.refuse_command).says(
        REJECTED
    )
