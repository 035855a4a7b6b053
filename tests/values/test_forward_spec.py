from __future__ import annotations

import pytest

from wraith.errors import UsageError
from wraith.values.address import (
    Destination,
    HostPort,
    TcpDestination,
    UnixDestination,
    UnixPath,
)
from wraith.values.forward_spec import (
    LocalForward,
    RemoteForward,
    parse_local_forward,
    parse_remote_forward,
)

DB = TcpDestination("db.internal", 5432)
SOCK = UnixDestination("/run/db.sock")

BOTH_WAYS: list[tuple[str, HostPort | UnixPath, Destination]] = [
    ("5432:db.internal:5432", HostPort("localhost", 5432), DB),
    ("127.0.0.1:5432:db.internal:5432", HostPort("127.0.0.1", 5432), DB),
    (":5432:db.internal:5432", HostPort("", 5432), DB),
    ("*:5432:db.internal:5432", HostPort("", 5432), DB),
    ("[::1]:5432:[2001:db8::1]:80", HostPort("::1", 5432), TcpDestination("2001:db8::1", 80)),
    ("[localhost]:0:[db.internal]:5432", HostPort("localhost", 0), DB),
    ("5432:/run/db.sock", HostPort("localhost", 5432), SOCK),
    ("*:5432:/run/db.sock", HostPort("", 5432), SOCK),
    ("[::]:5432:/run/db.sock", HostPort("::", 5432), SOCK),
    ("/tmp/x:db.internal:5432", UnixPath("/tmp/x"), DB),
    ("~/x:db.internal:5432", UnixPath("~/x"), DB),
    ("./my x:/run/db.sock", UnixPath("./my x"), SOCK),
]


@pytest.mark.parametrize(("text", "listen", "target"), BOTH_WAYS)
def test_forms_that_both_directions_have(
    text: str, listen: HostPort | UnixPath, target: Destination
) -> None:
    assert parse_local_forward(text) == LocalForward(listen, target)
    assert parse_remote_forward(text) == RemoteForward(listen, target)


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("1080", HostPort("localhost", 1080)),
        ("0", HostPort("localhost", 0)),
        (":1080", HostPort("", 1080)),
        ("*:1080", HostPort("", 1080)),
        ("[::1]:1080", HostPort("::1", 1080)),
    ],
)
def test_a_remote_forward_without_a_target_is_a_proxy(text: str, listen: HostPort) -> None:
    assert parse_remote_forward(text) == RemoteForward(listen, None)
    with pytest.raises(UsageError):
        parse_local_forward(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5432:secret", "a part is missing"),
        ("secret:5432", "a part is missing"),
        ("/run/secret", "a part is missing"),
        ("", "a part is missing"),
        ("x:secret:80", "the port is not a number"),
        ("5432:secret:x", "the port is not a number"),
        ("5432:secret:0", "port 0 cannot be reached"),
        ("5432::80", "the host is empty"),
        ("5432:se cret:80", "space"),
        ("5432:secret\n:80", "control character"),
        ("5432:/secret\0", "control character"),
        ("a b:5432:secret:80", "space"),
        ("::1:5432:secret:80", "too many parts"),
        ("/tmp/x:1:secret:80", "too many parts"),
        ("1:2:3:/secret", "too many parts"),
        ("[::1]5432:secret:80", "brackets"),
        ("5432:x[secret]:80", "brackets"),
        ("5432:[secret:80", "brackets"),
        ("5432:secret]:80", "brackets"),
    ],
)
def test_failing_forms_say_why_but_not_where_to(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parse_local_forward(text)
    assert "expected [bind:]port:host:hostport, [bind:]port:/path" in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "secret", "secret:", "a:secret:1:2:3", "/run/secret"])
def test_failing_remote_forms_name_the_proxy_too(text: str) -> None:
    with pytest.raises(UsageError, match=r"or .bind:.port for a SOCKS proxy") as caught:
        parse_remote_forward(text)
    assert "secret" not in str(caught.value)


def test_only_reveal_shows_the_target() -> None:
    local = parse_local_forward("*:5432:db.internal:5432")
    remote = parse_remote_forward("/tmp/x:/run/db.sock")
    assert local.reveal() == "*:5432:db.internal:5432"
    assert remote.reveal() == "/tmp/x:/run/db.sock"
    assert RemoteForward(HostPort("::1", 1080), None).reveal() == "[::1]:1080"
    for shown in (f"{local} {local!r}", f"{remote} {remote!r}"):
        assert "db" not in shown
