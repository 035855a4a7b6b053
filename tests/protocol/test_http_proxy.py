from __future__ import annotations

import base64

import pytest

from tests.support.playbook import Outcome, Story, every_cut
from wraith.errors import Refusal
from wraith.protocol.events import NEED_DATA, BadRequest, ConnectRequest, Failed, PacRequest
from wraith.protocol.http_head import MAX_HEAD_BYTES
from wraith.protocol.http_proxy import HttpProxyServer
from wraith.values.address import HostPort, TcpDestination
from wraith.values.credentials import Credentials

CONNECT = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
TUNNEL = ConnectRequest(TcpDestination("a.example", 443))
PLAIN = ConnectRequest(TcpDestination("a.example", 80), tunnel=False)


def with_credentials() -> HttpProxyServer:
    return HttpProxyServer(Credentials("me", "p:wd"))


def basic(text: str, scheme: str = "Basic") -> bytes:
    encoded = base64.b64encode(text.encode())
    return b"Proxy-Authorization: %b %b\r\n" % (scheme.encode(), encoded)


def test_a_tunnel() -> None:
    Story(HttpProxyServer()).reports(NEED_DATA).hears(CONNECT + b"hello").reports(
        TUNNEL
    ).says_nothing().does(lambda server: server.accept(HostPort("192.0.2.9", 1))).says(
        b"HTTP/1.1 200 Connection established\r\n\r\n"
    ).passes_on(b"hello")


def test_a_plain_request_is_answered_by_the_origin() -> None:
    story = Story(HttpProxyServer()).hears(
        b"POST http://a.example/p?q HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
    )
    story.reports(PLAIN).does(HttpProxyServer.accept).says_nothing()
    assert story.machine.upstream_head == (
        b"POST /p?q HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
    )
    story.passes_on(story.machine.upstream_head + b"body")


def test_a_plain_request_that_is_refused_meets_a_page() -> None:
    story = Story(HttpProxyServer()).hears(b"GET http://a.example/ HTTP/1.1\r\n\r\n").reports(PLAIN)
    story.machine.reply(502, "no luck\n")
    assert story.machine.data_to_send().endswith(b"\r\n\r\nno luck\n")


@pytest.mark.parametrize(
    ("target", "host", "port", "sent_target", "sent_host"),
    [
        (b"http://a.example", "a.example", 80, b"/", b"a.example"),
        (b"http://a.example:8080/x", "a.example", 8080, b"/x", b"a.example:8080"),
        (b"HTTP://A.example?q=/", "A.example", 80, b"/?q=/", b"A.example"),
        (b"http://[::1]:81/", "::1", 81, b"/", b"[::1]:81"),
        (b"http://[::1]/", "::1", 80, b"/", b"[::1]"),
        (b"http://b\xc3\xbccher/", "bücher", 80, b"/", b"b\xc3\xbccher"),
    ],
)
def test_absolute_form_becomes_origin_form(
    target: bytes, host: str, port: int, sent_target: bytes, sent_host: bytes
) -> None:
    request = ConnectRequest(TcpDestination(host, port), tunnel=False)
    server = Story(HttpProxyServer()).hears(b"GET %b HTTP/1.1\r\n\r\n" % target).reports(request)
    assert server.machine.upstream_head.startswith(
        b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (sent_target, sent_host)
    )


def test_options_without_a_path_is_about_the_whole_server() -> None:
    story = Story(HttpProxyServer()).hears(b"OPTIONS http://a.example HTTP/1.1\r\n\r\n")
    story.reports(PLAIN)
    assert story.machine.upstream_head.startswith(b"OPTIONS * HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (CONNECT, TUNNEL),
        (CONNECT.replace(b"\r", b""), TUNNEL),
        (b"CONNECT [::1]:22 HTTP/1.0\n\n", ConnectRequest(TcpDestination("::1", 22))),
        (b"CONNECT wraith-echo:0 HTTP/1.1\n\n", ConnectRequest(TcpDestination("wraith-echo", 0))),
        (b"GET http://a.example/ HTTP/1.1\r\nA: b\r\n\r\n", PLAIN),
        (b"GET /proxy.pac HTTP/1.1\r\nHost: localhost:1080\r\n\r\n", PacRequest("localhost:1080")),
        (b"GET /proxy.pac?1 HTTP/1.0\n\n", PacRequest("")),
        (b"GET /proxy.pac HTTP/1.1\nHost: [::1]:1080\n\n", PacRequest("[::1]:1080")),
        (CONNECT[:-1], NEED_DATA),
    ],
)
def test_requests(data: bytes, event: object) -> None:
    assert every_cut(HttpProxyServer, data).event == event


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a page of this server"),
        (b"HEAD /proxy.pac HTTP/1.1\r\n\r\n", "a page of this server"),
        (b"GET /proxy.pacific HTTP/1.1\r\n\r\n", "a page of this server"),
        (b"POST /?u=http://secret/ HTTP/1.1\r\n\r\n", "only http://"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", "a page of this server"),
        (b"GET https://secret/ HTTP/1.1\r\n\r\n", "only http://"),
        (b"GET ftp://secret/ HTTP/1.1\r\n\r\n", "only http://"),
        (b"GET http://secret/#x HTTP/1.1\r\n\r\n", "only http://"),
        (b"CONNECT secret HTTP/1.1\r\n\r\n", "target"),
        (b"CONNECT secret:99999 HTTP/1.1\r\n\r\n", "target"),
        (b"CONNECT :443 HTTP/1.1\r\n\r\n", "target"),
        (b"CONNECT /run/secret:443 HTTP/1.1\r\n\r\n", "target"),
        (b"CONNECT http://secret:443 HTTP/1.1\r\n\r\n", "target"),
        (b"CONNECT \xff:443 HTTP/1.1\r\n\r\n", "target"),
        (b"GET http:///x HTTP/1.1\r\n\r\n", "target"),
        (b"GET http://me@secret/ HTTP/1.1\r\n\r\n", "target"),
        (b"GET http://secret:/ HTTP/1.1\r\n\r\n", "target"),
        (b"GET /proxy.pac HTTP/1.1\nHost: a\nHost: b\n\n", "Host"),
        (b'GET /proxy.pac HTTP/1.1\nHost: a";\n\n', "Host"),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "first line"),
        (b"GET http://secret/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "header line"),
        (b"CONNECT secret:1 HTTP/1.1\r\nA: \0\r\n\r\n", "control character"),
    ],
)
def test_whoever_is_lost_gets_a_page(data: bytes, reason: str) -> None:
    outcome = every_cut(HttpProxyServer, data)
    assert isinstance(outcome.event, BadRequest)
    assert reason in outcome.event.reason
    assert outcome.sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"It is a proxy, not a web site." in outcome.sent
    assert b"secret" not in outcome.sent + outcome.event.reason.encode()


def test_a_head_has_a_limit() -> None:
    padding = MAX_HEAD_BYTES - len(b"GET http://a.example/ HTTP/1.1\r\nA: \r\n\r\n")
    fits = b"GET http://a.example/ HTTP/1.1\r\nA: %b\r\n\r\n" % (b"x" * padding)
    Story(HttpProxyServer()).hears(fits).reports(PLAIN)
    Story(HttpProxyServer()).hears(fits[:-1]).reports(NEED_DATA).hears(fits[-1:]).reports(PLAIN)
    too_long = fits.replace(b"A: ", b"A: x")
    Story(HttpProxyServer()).hears(too_long).fails("longer than 16384 bytes")
    Story(HttpProxyServer()).hears(b"x" * MAX_HEAD_BYTES).reports(NEED_DATA).hears(b"x").fails(
        "longer than 16384 bytes"
    )


# Credentials


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_who_knows_the_password_may_pass(scheme: str) -> None:
    data = CONNECT[:-2] + basic("me:p:wd", scheme) + b"\r\n"
    assert every_cut(with_credentials, data) == Outcome(TUNNEL, b"")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        basic("me:pwd"),
        basic("me"),
        basic("you:p:wd"),
        basic("me:p:wd", "Digest"),
        basic("me:p:wd") * 2,
        b"Proxy-Authorization: Basic\r\n",
        b"Proxy-Authorization: Basic ?\r\n",
        b"Proxy-Authorization: Basic bWU\r\n",
        b"Authorization: Basic bWU6cDp3ZA==\r\n",
    ],
)
def test_who_does_not_is_asked(header: bytes) -> None:
    for request in (CONNECT, b"GET http://a.example/ HTTP/1.1\r\n\r\n"):
        outcome = every_cut(with_credentials, request[:-2] + header + b"\r\n")
        assert outcome.event == Failed("the credentials for the proxy are missing or wrong")
        assert outcome.sent.startswith(b"HTTP/1.1 407 ")


def test_the_configuration_is_for_everybody() -> None:
    Story(with_credentials()).hears(b"GET /proxy.pac HTTP/1.1\n\n").reports(PacRequest(""))


# Refusals


@pytest.mark.parametrize("refusal", list(Refusal))
def test_refusals_have_a_status_and_a_sentence(refusal: Refusal) -> None:
    statuses = {Refusal.PROHIBITED: b"403 Forbidden", Refusal.TIMED_OUT: b"504 Gateway Timeout"}
    status = statuses.get(refusal, b"502 Bad Gateway")
    story = Story(HttpProxyServer()).hears(CONNECT).reports(TUNNEL)
    story.machine.refuse(refusal)
    page = story.machine.data_to_send()
    assert page.startswith(b"HTTP/1.1 %b\r\n" % status)
    assert b"\r\n\r\nWraith: the " in page
    assert b"a.example" not in page
