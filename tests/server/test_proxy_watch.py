from __future__ import annotations

import logging

import pytest

from wraith.errors import ProxyError, Refusal
from wraith.server.proxy_watch import ProxyWatch
from wraith.values.address import HostPort
from wraith.values.credentials import Credentials
from wraith.values.proxy_url import ProxyUrl

PROXY = ProxyUrl("socks5", HostPort("127.0.0.1", 1080), Credentials("me", "hunter2"))


def test_a_line_a_change_however_many_channels_fail(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wraith.server")
    watch = ProxyWatch(PROXY)
    down = ProxyError("it is down", Refusal.NETWORK_UNREACHABLE, hint="start it")
    wrong = ProxyError("it is wrong", Refusal.FAILED)
    for note in (None, down, down, down, wrong, None, None):
        watch.note(note)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", 'upstream proxy fails reason="it is down"'),
        ("WARNING", 'upstream proxy fails reason="it is wrong"'),
        ("INFO", "upstream proxy works proxy=socks5://127.0.0.1:1080"),
    ]


def test_it_introduces_itself() -> None:
    watch = ProxyWatch(PROXY)
    assert repr(watch) == "<ProxyWatch socks5://127.0.0.1:1080 works>"
    watch.note(ProxyError("it is down", Refusal.FAILED))
    assert repr(watch) == "<ProxyWatch socks5://127.0.0.1:1080 fails>"
