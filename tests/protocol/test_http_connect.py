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
from wraith.protocol.http_connect import MAX_INTERIM_ANSWERS, HttpConnectClient
from wraith.protocol.http_head import MAX_HEAD_BYTES
from wraith.protocol.http_proxy import HttpProxyServer
from wraith.values.address import HostPort, TcpDestination
from wraith.values.credentials import Credentials

SECRET = TcpDestination("secret.example", 443)
ME = Credentials("me", "p:wd")
OPEN = Connected(HostPort("", 0))


def test_a_proxy_that_trusts_everybody() -> None:
    Story(HttpConnectClient(SECRET)).says(
        b"CONNECT secret.example:443 HTTP/1.1\r\nHost: secret.example:443\r\n\r\n"
    ).reports(NEED_DATA).hears(b"HTTP/1.1 200 Connection established\r\n\r\nSSH-2.0-").reports(
        OPEN
    ).passes_on(b"SSH-2.0-")


def test_a_proxy_that_is_to_know_us() -> None:
    Story(HttpConnectClient(SECRET, ME)).says(
        b"CONNECT secret.example:443 HTTP/1.1\r\nHost: secret.example:443\r\n"
        b"Proxy-Authorization: Basic bWU6cDp3ZA==\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("a.example", b"a.example:80"),
        ("192.0.2.1", b"192.0.2.1:80"),
        ("2001:db8::1", b"[2001:db8::1]:80"),
        ("bücher.example", b"xn--bcher-kva.example:80"),
    ],
)
def test_names_are_for_the_proxy_to_resolve(host: str, authority: bytes) -> None:
    request = HttpConnectClient(TcpDestination(host, 80)).data_to_send()
    assert request == b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority)


@pytest.mark.parametrize(
    "host", ["", "a\r\nX: y", "a b", "a/b", "a@b", "\udcff", "ü" * 64 + ".example", "ü" * 200]
)
def test_what_can_be_no_host_is_told_at_once(host: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        HttpConnectClient(TcpDestination(host, 80))
    assert not host or host not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", OPEN),
        (b"HTTP/1.0 200\n\n", OPEN),
        (b"HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n", OPEN),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", OPEN),
        (b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n", AuthenticationFailed()),
        (b"HTTP/1.1 401 No\r\n\r\n", AuthenticationFailed()),
        (b"HTTP/1.1 403 No\r\n\r\n<html>", Refused(403, Refusal.PROHIBITED)),
        (b"HTTP/1.1 502 No\r\nProxy-Status: p; error=connection_refused\r\n\r\n",
         Refused(502, Refusal.REFUSED)),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", Refused(302, Refusal.FAILED)),
        (b"\x05", Malformed("the answer does not begin as HTTP/1 does")),
        (b"SSH-2.0-OpenSSH\r\n", Malformed("the answer does not begin as HTTP/1 does")),
        (b"HTTP/2 200 OK\r\n\r\n", Malformed("the answer does not begin as HTTP/1 does")),
        (b"HTTP/1.1 999 No\r\n\r\n", Malformed("the first line is not an HTTP/1 answer")),
        (b"HTTP/1.1 OK\r\n\r\n", Malformed("the first line is not an HTTP/1 answer")),
        (b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
         Malformed("a header line does not begin with a name and a colon")),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", NEED_DATA),
        (b"", NEED_DATA),
    ],
)  # fmt: skip
def test_answers(data: bytes, event: ClientEvent) -> None:
    for pieces in cuts(data):
        client = HttpConnectClient(SECRET)
        for piece in pieces:
            client.receive_data(piece)
            client.next_event()
        told = client.next_event()
        if isinstance(event, Malformed):
            assert isinstance(told, Malformed)  # the earlier it shows, the earlier it is told
        else:
            assert told == event


def test_what_was_malformed_when_whole() -> None:
    Story(HttpConnectClient(SECRET)).hears(b"HTTP/1.1 999 No\r\n\r\n").reports(
        Malformed("the first line is not an HTTP/1 answer")
    )


def test_what_the_destination_says_at_once_is_passed_on_wherever_it_is_cut() -> None:
    for pieces in cuts(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n\r\n\r\nHTTP/1.1 "):
        client = HttpConnectClient(SECRET)
        for piece in pieces:
            client.receive_data(piece)
            client.next_event()
        Story(client).reports(OPEN).passes_on(b"\r\n\r\nHTTP/1.1 ")


@pytest.mark.parametrize("ended", [b"", b"\r\n\r\n"])
def test_a_head_without_end(ended: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_HEAD_BYTES + ended
    Story(HttpConnectClient(SECRET)).hears(data).reports(
        Malformed(f"the head of the answer is longer than {MAX_HEAD_BYTES} bytes")
    )


def test_a_proxy_that_never_comes_to_an_answer() -> None:
    client = HttpConnectClient(SECRET)
    for _ in range(MAX_INTERIM_ANSWERS):
        Story(client).hears(b"HTTP/1.1 102 Processing\r\n\r\n").reports(NEED_DATA)
    Story(client).hears(b"HTTP/1.1 102 Processing\r\n\r\n").reports(
        Malformed("the proxy only ever says that it is busy")
    )


def test_a_silent_proxy_may_be_waiting_for_the_destination() -> None:
    assert not HttpConnectClient(SECRET).owes_an_answer


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 403 No\r\n\r\n"])
def test_nothing_follows_what_is_not_connected(answer: bytes) -> None:
    client = Story(HttpConnectClient(SECRET)).hears(answer).machine
    client.next_event()
    with pytest.raises(LocalProtocolError):
        client.trailing_data()


def test_it_introduces_itself_without_secrets() -> None:
    client = HttpConnectClient(SECRET, Credentials("hunter1", "hunter2"))
    assert repr(client) == "<HttpConnectClient, waiting for the answer>"
    Story(client).hears(b"HTTP/1.1 407 No\r\n\r\n").reports(AuthenticationFailed())
    assert repr(client) == "<HttpConnectClient, AuthenticationFailed()>"


# Our client against our server


@pytest.mark.parametrize("credentials", [None, ME])
@pytest.mark.parametrize("refusal", [None, *Refusal])
@pytest.mark.parametrize("host", ["a.example", "192.0.2.1", "2001:db8::1"])
def test_both_sides_understand_each_other(
    refusal: Refusal | None, credentials: Credentials | None, host: str
) -> None:
    client = HttpConnectClient(TcpDestination(host, 80), credentials)
    server = HttpProxyServer(credentials)
    server.receive_data(client.data_to_send())
    server.next_event()
    if refusal is None:
        server.accept()
    else:
        server.refuse(refusal)
    client.receive_data(server.data_to_send())
    event = client.next_event()
    if refusal is None:
        assert event == OPEN
    else:
        assert isinstance(event, Refused)
        assert event.reason is refusal


@pytest.mark.parametrize("ours", [None, Credentials("me", "other")])
def test_both_sides_notice_the_wrong_credentials(ours: Credentials | None) -> None:
    client, server = HttpConnectClient(SECRET, ours), HttpProxyServer(ME)
    server.receive_data(client.data_to_send())
    server.next_event()
    client.receive_data(server.data_to_send())
    Story(client).reports(AuthenticationFailed())
