"""What `--bus` may be."""

from __future__ import annotations

import importlib.util

import pytest

from wraith.errors import UsageError
from wraith.pubsub.backend import MemoryBackend
from wraith.pubsub.bus_url import BusUrl
from wraith.server.options import ServeOptions


def test_memory_is_nowhere() -> None:
    assert BusUrl.parse("memory://").backend() is MemoryBackend
    assert ServeOptions().bus_backend() is MemoryBackend


@pytest.mark.parametrize(
    ("text", "url", "prefix"),
    [
        ("redis://r", "redis://r", "wraith:"),
        ("redis://r:6379/2", "redis://r:6379/2", "wraith:"),
        ("redis://me:p%40ss@r", "redis://me:p%40ss@r", "wraith:"),
        ("rediss://r?ssl_cert_reqs=none", "rediss://r?ssl_cert_reqs=none", "wraith:"),
        ("redis://[::1]:6379?prefix=chat:&db=1", "redis://[::1]:6379?db=1", "chat:"),
        ("redis://r?prefix=", "redis://r", ""),
        ("unix:///run/redis.sock?prefix=a%20b", "unix:///run/redis.sock", "a b"),
    ],
)
def test_the_prefix_is_ours_and_the_rest_is_the_librarys(text: str, url: str, prefix: str) -> None:
    parsed = BusUrl.parse(text)
    assert (parsed.url, parsed.prefix) == (url, prefix)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "memory",
        "memory://here",
        "nats://secret",
        "redis://",
        "redis://secret:70000",
        "redis://[secret",
        "redis://secret?prefix",
        "redis://r#secret",
    ],
)
def test_anything_else_is_a_usage_error_that_does_not_repeat_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        ServeOptions(bus=text)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_nothing_shows_the_password() -> None:
    text = "redis://me:secret@r"
    assert "secret" not in repr(BusUrl.parse(text))
    assert "secret" not in repr(ServeOptions(bus=text))


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        ServeOptions(bus="redis://r")
    assert caught.value.hint == "pip install 'wraith-tunnel[redis]'"
