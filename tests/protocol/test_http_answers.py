from __future__ import annotations

import pytest

from wraith.protocol import http_answers
from wraith.values.address import HostPort


def test_a_page_is_complete() -> None:
    assert http_answers.page(502, "grün\n") == (
        b"HTTP/1.1 502 Bad Gateway\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 6\r\n"
        b"Cache-Control: no-store\r\n"
        b"Connection: close\r\n\r\n"
        b"gr\xc3\xbcn\n"
    )


def test_a_status_must_exist() -> None:
    with pytest.raises(ValueError, match="799"):
        http_answers.page(799, "")


def test_a_lost_browser_is_helped() -> None:
    page = http_answers.wrong_door("it rains")
    assert page.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"It is a proxy, not a web site." in page
    assert b"curl --proxy socks5h://" in page
    assert b"/proxy.pac" in page
    assert page.endswith(b"because it rains.\n")


def test_credentials_are_asked_for() -> None:
    page = http_answers.authentication_required()
    assert page.startswith(b"HTTP/1.1 407 Proxy Authentication Required\r\n")
    assert b"\r\nProxy-Authenticate: Basic realm=" in page


@pytest.mark.parametrize(
    ("proxy", "address"),
    [
        (HostPort("127.0.0.1", 1080), "127.0.0.1:1080"),
        (HostPort("::1", 1080), "[::1]:1080"),
        (HostPort("my-laptop.lan", 80), "my-laptop.lan:80"),
    ],
)
def test_a_pac_file_sends_everything_through_us(proxy: HostPort, address: str) -> None:
    head, _, body = http_answers.pac_file(proxy).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: application/x-ns-proxy-autoconfig" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert f'return "SOCKS5 {address}; SOCKS {address}; PROXY {address}";'.encode() in body
    assert body.count(b"{") == body.count(b"}") == 1


@pytest.mark.parametrize(
    "host", ["", 'a"; alert(1); "', "a; PROXY evil", "a\n", "ü", "a\\", "::1%1"]
)
def test_a_pac_file_holds_no_foreign_script(host: str) -> None:
    with pytest.raises(ValueError, match="PAC"):
        http_answers.pac_file(HostPort(host, 1080))
