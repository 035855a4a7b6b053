from __future__ import annotations

import pytest

from wraith.errors import UsageError
from wraith.values.address import HostPort
from wraith.values.upstream_url import UpstreamUrl, parse_upstream_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://127.0.0.1:8443", UpstreamUrl(HostPort("127.0.0.1", 8443), True)),
        ("https://web", UpstreamUrl(HostPort("web", 443), True)),
        ("http://[::1]/", UpstreamUrl(HostPort("::1", 80), False)),
        ("http://a:1?proxy_protocol=1", UpstreamUrl(HostPort("a", 1), False, True)),
        ("http://a:1?proxy_protocol=0", UpstreamUrl(HostPort("a", 1), False)),
    ],
)
def test_urls_of_web_servers(text: str, url: UpstreamUrl) -> None:
    assert parse_upstream_url(text) == url
    assert parse_upstream_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "127.0.0.1:8443", "ftp://a", "https://", "https://a/b", "https://u:p@a"),
        *("https://a:x", "https://a:99999", "https://a#b", "https://a?x=1", "https://[::1"),
        "https://a?proxy_protocol=2",
    ],
)
def test_what_is_none_is_told_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_upstream_url(text)
    assert "https://127.0.0.1:8443" in (caught.value.hint or "")
