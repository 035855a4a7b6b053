from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.errors import UsageError
from wraith.values.address import HostPort
from wraith.values.credentials import Credentials
from wraith.values.proxy_url import ProxyUrl, parse_proxy_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("direct", None),
        ("socks5://127.0.0.1:1080", ProxyUrl("socks5", HostPort("127.0.0.1", 1080))),
        ("socks5h://proxy.example:1080", ProxyUrl("socks5", HostPort("proxy.example", 1080))),
        ("HTTP://[::1]:3128/", ProxyUrl("http", HostPort("::1", 3128))),
        (
            "socks5://me:pwd@a:1",
            ProxyUrl("socks5", HostPort("a", 1), Credentials("me", "pwd")),
        ),
        (
            "http://m%40e:p%3Aw%2Fd:x@a:1",
            ProxyUrl("http", HostPort("a", 1), Credentials("m@e", "p:w/d:x")),
        ),
        (
            "http://me:p@ss/w?o#rd@a:1",
            ProxyUrl("http", HostPort("a", 1), Credentials("me", "p@ss/w?o#rd")),
        ),
    ],
)
def test_what_is_understood(text: str, expected: ProxyUrl | None) -> None:
    assert parse_proxy_url(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no URL"),
        ("hunter2", "no URL"),
        ("127.0.0.1:1080", "no URL"),
        ("https://me:hunter2@a:1", "neither socks5 nor http"),
        ("socks4://me:hunter2@a:1", "neither socks5 nor http"),
        ("socks5://me:hunter2@a", "port is missing"),
        ("socks5://me:hunter2@a:0", "port is missing"),
        ("socks5://me:hunter2@:1080", "host is empty"),
        ("socks5://me:hunter2@a:99999", "number from 0 to 65535"),
        ("http://me:hunter2@a:1/path", "not a number"),
        ("http://hunter2@a:1", "no password"),
        ("http://:hunter2@a:1", "user name"),
        ("http://hunter2:@a:1", "password"),
        ("http://me:hunter2%ff@a:1", "not UTF-8"),
        ("http://hunter2:x@a b:1", "space"),
    ],
)
def test_what_is_not_tells_nothing_of_what_was_given(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parse_proxy_url(text)
    assert "hunter2" not in str(caught.value)
    assert "socks5://[USER:PASS@]HOST:PORT" in str(caught.value) or "for the proxy" in str(
        caught.value
    )


def test_it_introduces_itself_without_its_credentials() -> None:
    proxy = parse_proxy_url("socks5://hunter1:hunter2@[2001:db8::1]:1080")
    assert str(proxy) == "socks5://[2001:db8::1]:1080"
    assert "hunter" not in repr(proxy)


@given(st.text(max_size=40))
def test_any_text_is_a_proxy_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        parse_proxy_url(text)
