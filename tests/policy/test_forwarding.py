"""What a key's own limits let it have forwarded."""

from __future__ import annotations

import pytest

from wraith.policy.forwarding import NO_FORWARDING, Forwarding, PermitListen, PermitOpen
from wraith.values.address import TcpDestination, UnixDestination

ANYTHING = Forwarding()


def opening(*permits: str, allowed: bool = True) -> Forwarding:
    parsed = tuple(map(PermitOpen.parse, permits))
    return Forwarding(allowed=allowed, restricted=True, permit_open=parsed)


def listening(*permits: str) -> Forwarding:
    return Forwarding(permit_listen=tuple(map(PermitListen.parse, permits)))


def tcp(host: str, port: int) -> TcpDestination:
    return TcpDestination(host, port)


def test_a_key_without_limits_may_do_everything() -> None:
    assert ANYTHING.may_open(tcp("db.internal", 5432))
    assert ANYTHING.may_open(tcp("wraith-control", 0))
    assert ANYTHING.may_open(UnixDestination("/run/web.sock"))
    assert ANYTHING.may_listen("localhost", 0)
    assert ANYTHING.may_listen_unix()


def test_a_key_without_forwarding_may_do_nothing() -> None:
    assert not NO_FORWARDING.may_open(tcp("db.internal", 5432))
    assert not NO_FORWARDING.may_open(tcp("wraith-udp", 0))
    assert not NO_FORWARDING.may_open(UnixDestination("/run/web.sock"))
    assert not NO_FORWARDING.may_listen("localhost", 8080)
    assert not NO_FORWARDING.may_listen_unix()


def test_restrict_with_port_forwarding_is_for_tcp_alone() -> None:
    key = Forwarding(allowed=True, restricted=True)
    assert key.may_open(tcp("db.internal", 5432))
    assert key.may_listen("localhost", 8080)
    assert not key.may_reserved("wraith-udp")
    assert not key.may_open_unix("/run/web.sock")
    assert not key.may_listen_unix()


@pytest.mark.parametrize(
    ("permit", "host", "port", "permitted"),
    [
        ("db.internal:5432", "db.internal", 5432, True),
        ("db.internal:5432", "DB.Internal", 5432, True),
        ("DB.internal:5432", "db.internal", 5432, True),
        ("db.internal:5432", "db.internal", 22, False),
        ("db.internal:5432", "db.internal.", 5432, False),  # literally, as sshd(8) says
        ("db.internal:*", "db.internal", 1, True),
        ("*:443", "anything", 443, True),
        ("*:443", "anything", 80, False),
        ("*.internal:443", "db.internal", 443, False),  # no pattern but `*`
        ("[2001:db8::1]:80", "2001:db8::1", 80, True),
        ("192.0.2.1:80", "192.0.2.1", 80, True),
        ("*:*", "wraith-control", 0, False),  # not named
        ("wraith-control:*", "wraith-control", 0, True),
        ("wraith-control:0", "WRAITH-control", 9, True),
        ("wraith-control:0", "wraith-udp", 0, False),
        ("wraith-control:0", "db.internal", 5432, False),
    ],
)
def test_permitopen(permit: str, host: str, port: int, permitted: bool) -> None:
    assert opening(permit).may_open(tcp(host, port)) is permitted


def test_what_permitopen_names_is_there_even_without_port_forwarding() -> None:
    key = opening("wraith-control:0", "/run/web.sock", "db.internal:5432", allowed=False)
    assert key.may_reserved("wraith-control")
    assert key.may_open(UnixDestination("/run/web.sock"))
    assert not key.may_open(UnixDestination("/run/other.sock"))
    assert not key.may_open(tcp("db.internal", 5432))  # restrict without port-forwarding


@pytest.mark.parametrize(
    ("permit", "host", "port", "permitted"),
    [
        ("8080", "localhost", 8080, True),
        ("8080", "", 8080, True),
        ("8080", "localhost", 8081, False),
        ("8080", "localhost", 0, False),
        ("localhost:8080", "LOCALHOST", 8080, True),
        ("localhost:8080", "0.0.0.0", 8080, False),
        ("localhost:*", "localhost", 0, True),
        ("localhost:0", "localhost", 8080, True),
        ("127.0.0.?:8080", "127.0.0.2", 8080, True),
        ("[::1]:8080", "::1", 8080, True),
    ],
)
def test_permitlisten(permit: str, host: str, port: int, permitted: bool) -> None:
    key = listening(permit)
    assert key.may_listen(host, port) is permitted
    assert key.may_open(tcp("db.internal", 5432))
    assert not key.may_listen_unix()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "db",
        ":80",
        "db:",
        "db:x",
        "db:0",
        "db:65536",
        "db:-1",
        "::1:80",
        "[::1]",
        "db:٣",
        "db:111111",
    ],
)
def test_what_permitopen_cannot_say(text: str) -> None:
    with pytest.raises(ValueError):
        PermitOpen.parse(text)


@pytest.mark.parametrize("text", ["", "x", "host:", ":80", "::1:80"])
def test_what_permitlisten_cannot_say(text: str) -> None:
    with pytest.raises(ValueError):
        PermitListen.parse(text)


def test_no_destination_shows_itself() -> None:
    assert "db" not in repr(opening("db.internal:5432"))
