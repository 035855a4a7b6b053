from __future__ import annotations

import pytest

from tests.support.playbook import Story, cuts
from wraith.errors import Refusal
from wraith.protocol.events import (
    NEED_DATA,
    AuthenticationFailed,
    ClientEvent,
    Connected,
    LocalProtocolError,
    Malformed,
    Refused,
)
from wraith.protocol.socks5.client import Socks5Client
from wraith.protocol.socks5.messages import Reply
from wraith.protocol.socks5.server import Socks5Server
from wraith.values.address import HostPort, TcpDestination
from wraith.values.credentials import Credentials

SECRET = TcpDestination("secret.example", 443)
LITERAL = TcpDestination("192.0.2.1", 80)
CONNECT_LITERAL = "05 01 00 01 c0000201 0050"
ME = Credentials("me", "pwd")


def test_a_proxy_that_trusts_everybody() -> None:
    Story(Socks5Client(LITERAL)).says("05 01 00").reports(NEED_DATA).hears("05 00").reports(
        NEED_DATA
    ).says(CONNECT_LITERAL).hears("05 00 00 01 c0000209 0fa0").hears(b"SSH-2.0-").reports(
        Connected(HostPort("192.0.2.9", 4000))
    ).passes_on(b"SSH-2.0-")


def test_a_proxy_that_wants_to_know_us() -> None:
    Story(Socks5Client(LITERAL, ME)).says("05 02 00 02").hears("05 02").reports(NEED_DATA).says(
        "01 02 6d65 03 707764"
    ).hears("01 00").reports(NEED_DATA).says(CONNECT_LITERAL)


def test_credentials_stay_at_home_when_nobody_asks_for_them() -> None:
    Story(Socks5Client(LITERAL, ME)).says("05 02 00 02").hears("05 00").reports(NEED_DATA).says(
        CONNECT_LITERAL
    )


def test_silence_is_the_proxys_own_until_it_knows_the_destination() -> None:
    client = Socks5Client(LITERAL, ME)
    for answer in (b"", b"\5\2"):
        assert client.owes_an_answer
        client.receive_data(answer)
        client.next_event()
    assert client.owes_an_answer
    client.receive_data(b"\1\0")
    client.next_event()
    assert not client.owes_an_answer


def test_names_are_for_the_proxy_to_resolve() -> None:
    Story(Socks5Client(TcpDestination("a", 80))).says("05 01 00").hears("05 00").reports(
        NEED_DATA
    ).says("05 01 00 03 01 61 0050")


@pytest.mark.parametrize(
    ("data", "event"),
    [
        ("05 00  05 00 00 01 c0000209 0fa0", Connected(HostPort("192.0.2.9", 4000))),
        ("05 00  05 00 00 03 01 61 0001", Connected(HostPort("a", 1))),
        ("05 02  01 00  05 00 00 03 00 0000", Connected(HostPort("", 0))),
        ("05 02  01 00  05 05", Refused(Reply.CONNECTION_REFUSED, Refusal.REFUSED)),
        ("05 00  05 91 00 01", Refused(0x91, Refusal.FAILED)),
        ("05 ff", AuthenticationFailed()),
        ("05 02  01 01", AuthenticationFailed()),
        ("05 01", Malformed("the proxy chose a method that was not offered")),
        ("05 02  05", Malformed("unknown version")),
        ("05 00  04", Malformed("unknown version")),
        ("05 00  05 00 00 07", Malformed("unknown address type")),
        (b"HTTP/1.1 400 Bad Request".hex(), Malformed("unknown version")),
        ("05 00  05 00", NEED_DATA),
    ],
)
def test_answers(data: str, event: ClientEvent) -> None:
    for pieces in cuts(bytes.fromhex(data)):
        client = Socks5Client(LITERAL, ME)
        for piece in pieces:
            client.receive_data(piece)
            client.next_event()
        assert client.next_event() == event


def test_a_method_needs_credentials() -> None:
    Story(Socks5Client(LITERAL)).hears("05 02").reports(
        Malformed("the proxy chose a method that was not offered")
    )


def test_a_name_that_is_too_long_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        Socks5Client(TcpDestination("x" * 256, 80))


@pytest.mark.parametrize("reason", list(Refusal))
def test_the_reason_survives_our_own_server(reason: Refusal) -> None:
    """As far as SOCKS has words for it: an unknown name is a host that cannot be reached."""
    client, server = Socks5Client(LITERAL), Socks5Server()
    introduce(client, server)
    server.refuse(reason)
    client.receive_data(server.data_to_send())
    event = client.next_event()
    assert isinstance(event, Refused)
    told_alike = {
        Refusal.NAME_UNKNOWN: Refusal.HOST_UNREACHABLE,
        Refusal.RESOURCE_SHORTAGE: Refusal.FAILED,
    }
    assert event.reason is told_alike.get(reason, reason)


@pytest.mark.parametrize("answer", ["", "05 ff"])
def test_nothing_follows_what_is_not_connected(answer: str) -> None:
    client = Story(Socks5Client(LITERAL)).hears(answer).machine
    client.next_event()
    with pytest.raises(LocalProtocolError):
        client.trailing_data()


def test_it_introduces_itself_without_the_destination() -> None:
    client = Socks5Client(SECRET, ME)
    assert repr(client) == "<Socks5Client, CHOICE>"
    Story(client).hears("05 00 05 05").reports(Refused(5, Refusal.REFUSED))
    assert (
        repr(client) == "<Socks5Client, Refused(reply=5, reason=<Refusal.REFUSED: 'ECONNREFUSED'>)>"
    )
    Story(connected := Socks5Client(SECRET)).hears(b"\5\0\5\0\0\3\6secret\0\0").reports(
        Connected(HostPort("secret", 0))
    )
    assert "secret" not in repr(connected)


# Our client against our server


def introduce(client: Socks5Client, server: Socks5Server) -> None:
    """Carry bytes between the two until neither has more to say."""
    while (to_server := client.data_to_send()) or server.data_to_send():
        server.receive_data(to_server)
        server.next_event()
        client.receive_data(server.data_to_send())
        client.next_event()


@pytest.mark.parametrize("reply", list(Reply))
@pytest.mark.parametrize("credentials", [None, ME])
@pytest.mark.parametrize("host", ["a.example", "192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
def test_both_sides_understand_each_other(
    reply: Reply, credentials: Credentials | None, host: str
) -> None:
    client = Socks5Client(TcpDestination(host, 80), credentials)
    server = Socks5Server(credentials)
    introduce(client, server)
    server.reply(reply, HostPort("::1", 9))
    client.receive_data(server.data_to_send())
    event = client.next_event()
    if reply is Reply.SUCCEEDED:
        assert event == Connected(HostPort("::1", 9))
    else:
        assert isinstance(event, Refused)
        assert event.reply == reply


@pytest.mark.parametrize(
    ("ours", "theirs"), [(None, ME), (Credentials("me", "other"), ME), (ME, Credentials("a", "b"))]
)
def test_both_sides_notice_the_wrong_credentials(
    ours: Credentials | None, theirs: Credentials
) -> None:
    client, server = Socks5Client(LITERAL, ours), Socks5Server(theirs)
    introduce(client, server)
    Story(server).fails()
    Story(client).reports(AuthenticationFailed())
