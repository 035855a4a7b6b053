from __future__ import annotations

import pytest

from tests.support.playbook import Outcome, Story, every_cut
from wraith.errors import Refusal
from wraith.protocol.events import NEED_DATA, ConnectRequest, Failed, UdpAssociateRequest
from wraith.protocol.socks5.messages import Reply
from wraith.protocol.socks5.server import Socks5Server
from wraith.values.address import HostPort, TcpDestination
from wraith.values.credentials import Credentials

NO_AUTH = "05 01 00"
CONNECT_NAME = "05 01 00 03 09 612e6578616d706c65 01bb"
A_EXAMPLE = ConnectRequest(TcpDestination("a.example", 443))


def with_credentials() -> Socks5Server:
    return Socks5Server(Credentials("me", "pwd"))


def test_a_browser_opens_a_page() -> None:
    Story(Socks5Server()).reports(NEED_DATA).says_nothing().hears(NO_AUTH).reports(NEED_DATA).says(
        "05 00"
    ).hears(CONNECT_NAME).reports(A_EXAMPLE).says_nothing().does(
        lambda server: server.accept(HostPort("192.0.2.9", 4000))
    ).says("05 00 00 01 c0000209 0fa0").hears(b"hello").passes_on(b"hello")


def test_a_program_proves_who_it_is() -> None:
    Story(with_credentials()).hears("05 02 00 02").reports(NEED_DATA).says("05 02").hears(
        "01 02 6d65 03 707764"
    ).reports(NEED_DATA).says("01 00").hears(CONNECT_NAME).reports(A_EXAMPLE)


def test_a_program_does_not_know_the_password() -> None:
    Story(with_credentials()).hears("05 01 02").reports(NEED_DATA).says("05 02").hears(
        "01 02 6d65 03 505744"
    ).fails("wrong user name or password").says("01 01").hears(CONNECT_NAME).fails().says_nothing()


def test_a_client_that_does_not_wait_for_answers() -> None:
    Story(with_credentials()).hears("05 01 02  01 02 6d65 03 707764" + CONNECT_NAME).hears(
        b"GET /"
    ).reports(A_EXAMPLE).says("05 02 01 00").passes_on(b"GET /")


# Whole, byte by byte, in two parts, and with more behind: the bytes, what was answered, the event.
CONVERSATIONS: list[tuple[str, str, object]] = [
    (
        NO_AUTH + "05 01 00 01 c0000201 0050",
        "0500",
        ConnectRequest(TcpDestination("192.0.2.1", 80)),
    ),
    (
        NO_AUTH + "05 01 00 04 20010db8000000000000000000000001 0050",
        "0500",
        ConnectRequest(TcpDestination("2001:db8::1", 80)),
    ),
    (NO_AUTH + CONNECT_NAME, "0500", A_EXAMPLE),
    ("05 03 02 00 01" + CONNECT_NAME, "0500", A_EXAMPLE),
    (
        NO_AUTH + "05 01 00 03 03 3a3a31 0050",
        "0500",
        ConnectRequest(TcpDestination("::1", 80)),
    ),
    (
        NO_AUTH + "05 01 07 03 01 61 0000",
        "0500",
        ConnectRequest(TcpDestination("a", 0)),
    ),
    (
        NO_AUTH + "05 03 00 01 00000000 0000",
        "0500",
        UdpAssociateRequest(TcpDestination("0.0.0.0", 0)),
    ),
    (NO_AUTH + "05 01", "0500", NEED_DATA),
    ("05", "", NEED_DATA),
    ("04 01", "", Failed("unknown version")),
    ("05 00", "05ff", Failed("no acceptable authentication method")),
    ("05 02 01 02", "05ff", Failed("no acceptable authentication method")),
    (
        NO_AUTH + "05 02 00 01 c0000201 0050",
        "0500 05 07 00 01 00000000 0000",
        Failed("command not supported"),
    ),
    (
        NO_AUTH + "05 f1 00 03 01 61 0050",
        "0500 05 07 00 01 00000000 0000",
        Failed("command not supported"),
    ),
    (
        NO_AUTH + "05 01 00 05",
        "0500 05 08 00 01 00000000 0000",
        Failed("unknown address type"),
    ),
    (
        NO_AUTH + "05 01 00 03 00 0050",
        "0500 05 01 00 01 00000000 0000",
        Failed("the host is no name or address"),
    ),
    (
        NO_AUTH + "05 01 00 03 08 736563726574000a 0050",
        "0500 05 01 00 01 00000000 0000",
        Failed("the host is no name or address"),
    ),
    (
        NO_AUTH + "05 01 00 03 02 fffe 0050",
        "0500 05 01 00 01 00000000 0000",
        Failed("the host is not UTF-8"),
    ),
    (NO_AUTH + "04", "0500 05 01 00 01 00000000 0000", Failed("unknown version")),
]


@pytest.mark.parametrize(("data", "sent", "event"), CONVERSATIONS)
def test_conversations(data: str, sent: str, event: object) -> None:
    assert every_cut(Socks5Server, data) == Outcome(event, bytes.fromhex(sent))


@pytest.mark.parametrize(
    ("data", "sent", "event"),
    [
        ("05 01 02 01 02 6d65 03 707764" + CONNECT_NAME, "05020100", A_EXAMPLE),
        ("05 01 02 01 02 6d65 00", "05020101", Failed("wrong user name or password")),
        ("05 01 02 01 00 00", "05020101", Failed("wrong user name or password")),
        ("05 01 02 05", "0502", Failed("unknown version")),
        (NO_AUTH, "05ff", Failed("no acceptable authentication method")),
    ],
)
def test_conversations_with_credentials(data: str, sent: str, event: object) -> None:
    assert every_cut(with_credentials, data) == Outcome(event, bytes.fromhex(sent))


def asked() -> Socks5Server:
    return (
        Story(Socks5Server()).hears(NO_AUTH + CONNECT_NAME).reports(A_EXAMPLE).says("0500").machine
    )


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal.PROHIBITED, 2),
        (Refusal.NETWORK_UNREACHABLE, 3),
        (Refusal.HOST_UNREACHABLE, 4),
        (Refusal.NAME_UNKNOWN, 4),
        (Refusal.REFUSED, 5),
        (Refusal.TIMED_OUT, 6),
        (Refusal.RESOURCE_SHORTAGE, 1),
        (Refusal.UNSUPPORTED, 7),
        (Refusal.FAILED, 1),
    ],
)
def test_refusals_tell_the_truth(refusal: Refusal, code: int) -> None:
    Story(asked()).does(lambda server: server.refuse(refusal)).says(
        bytes([5, code]) + bytes.fromhex("00 01 00000000 0000")
    )


def test_datagrams_may_be_more_than_we_can_do() -> None:
    Story(asked()).does(Socks5Server.refuse_command).says("05 07 00 01 00000000 0000")


def test_only_success_begins_the_relaying() -> None:
    assert "relaying" in repr(Story(asked()).does(lambda s: s.reply(Reply.SUCCEEDED)).machine)
    assert "closed" in repr(Story(asked()).does(lambda s: s.reply(Reply.NOT_ALLOWED)).machine)


def test_a_failure_forgets_what_was_received() -> None:
    server = Story(Socks5Server()).hears("04" + "00" * 1000).fails().hears(b"x" * 1000).machine
    assert len(server._incoming) == 0
