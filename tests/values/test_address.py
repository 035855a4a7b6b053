from __future__ import annotations

import traceback
from dataclasses import FrozenInstanceError, dataclass

import pytest

from wraith.errors import UsageError
from wraith.values.address import (
    Destination,
    HostPort,
    ListenAddress,
    TcpDestination,
    UnixDestination,
    UnixPath,
    is_unix_path,
    parse_destination,
    parse_host_port,
    parse_listen,
    parse_tcp_destination,
)

# Addresses of the tunnel


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.com:2222", HostPort("example.com", 2222)),
        ("127.0.0.1:0", HostPort("127.0.0.1", 0)),
        ("[2001:db8::1]:22", HostPort("2001:db8::1", 22)),
        ("[fe80::1%eth0]:22", HostPort("fe80::1%eth0", 22)),
        ("[example.com]:22", HostPort("example.com", 22)),
    ],
)
def test_host_and_port(text: str, expected: HostPort) -> None:
    assert parse_host_port(text) == expected
    assert parse_host_port(text, default_port=1) == expected


@pytest.mark.parametrize(
    ("text", "host"),
    [("example.com", "example.com"), ("[::1]", "::1"), ("::1", "::1"), ("::1:22", "::1:22")],
)
def test_with_a_default_the_port_may_be_missing(text: str, host: str) -> None:
    assert parse_host_port(text, default_port=443) == HostPort(host, 443)
    with pytest.raises(UsageError, match="the port is missing"):
        parse_host_port(text)


@pytest.mark.parametrize("text", ["", ":22", "h:", "h:65536", "h:٢٢", "a b:22", "a\0:1", "1:2:3"])
def test_a_wrong_address_is_shown_with_what_was_expected(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_host_port(text, default_port=22)
    assert repr(text) in str(caught.value)
    assert "expected HOST[:PORT]" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_addresses_print_as_they_are_written() -> None:
    assert str(HostPort("example.com", 22)) == "example.com:22"
    assert str(HostPort("::1", 22)) == "[::1]:22"
    assert str(HostPort("", 22)) == "*:22"
    assert str(UnixPath("/run/x.sock")) == "/run/x.sock"
    assert repr(HostPort("::1", 22)) == "HostPort(host='::1', port=22)"


def test_a_unix_path_has_a_slash_in_it() -> None:
    assert all(map(is_unix_path, ["/run/x", "./x", "../x", "~/x", "x/y"]))
    assert not any(map(is_unix_path, ["x", "localhost", "::1", ""]))


# Destinations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db.internal:5432", TcpDestination("db.internal", 5432)),
        ("[::1]:80", TcpDestination("::1", 80)),
        ("wraith-control:0", TcpDestination("wraith-control", 0)),
        ("/run/db.sock", UnixDestination("/run/db.sock")),
        ("./my socket", UnixDestination("./my socket")),
    ],
)
def test_destinations(text: str, expected: Destination) -> None:
    assert parse_destination(text) == expected
    assert expected.reveal() == text


@pytest.mark.parametrize(
    "text", ["secret", "secret:", "sec ret:80", "secret:99999", "se:cr:et:1", ":80", "/sec\0ret"]
)
def test_an_error_does_not_tell_the_destination(text: str) -> None:
    with pytest.raises(UsageError, match="expected HOST:PORT") as caught:
        parse_destination(text)
    assert "sec" not in str(caught.value)
    assert text not in "".join(traceback.format_exception(caught.value))


def test_a_tcp_destination_may_have_a_default_port() -> None:
    assert parse_tcp_destination("a.example", default_port=80) == TcpDestination("a.example", 80)
    with pytest.raises(UsageError):
        parse_tcp_destination("/run/db.sock", default_port=80)


def test_a_stranger_may_send_brackets_but_no_nonsense() -> None:
    assert TcpDestination.from_wire("[::1]", 80) == TcpDestination("::1", 80)
    assert TcpDestination.from_wire("a.example", 80) == TcpDestination("a.example", 80)
    for host in ["", "[]", "se cret", "secret\0", "[[::1]]"]:
        with pytest.raises(UsageError) as caught:
            TcpDestination.from_wire(host, 80)
        assert "se cret" not in str(caught.value)


@pytest.mark.parametrize("host", ["wraith-udp", "WRAITH-Control", "wraith-"])
def test_reserved_names(host: str) -> None:
    assert TcpDestination(host, 0).is_reserved


@pytest.mark.parametrize("host", ["wraith", "wraith.example", "a.wraith-udp", "::1"])
def test_other_names_are_not_reserved(host: str) -> None:
    assert not TcpDestination(host, 0).is_reserved


@dataclass(frozen=True)
class Holder:
    destination: Destination


@pytest.mark.parametrize(
    "destination", [TcpDestination("secret.example", 4321), UnixDestination("/run/secret.example")]
)
def test_a_destination_shows_itself_nowhere(destination: Destination) -> None:
    shown = [
        repr(destination),
        str(destination),
        f"{destination} {destination!r} {destination!s:>40}",
        "%s %r" % (destination, destination),  # noqa: UP031 - logging formats this way
        repr(Holder(destination)),
        repr(ValueError(destination)),
        str(OSError(1, destination)),
        repr([destination, {destination: destination}]),
    ]
    for text in shown:
        assert "***" in text
        assert "secret" not in text
        assert "4321" not in text


def test_values_do_not_change_and_may_be_keys() -> None:
    values = {
        HostPort("a", 1),
        UnixPath("/a"),
        TcpDestination("a", 1),
        UnixDestination("/a"),
        ListenAddress("tcp", "", 1),
    }
    assert TcpDestination("a", 1) in values
    with pytest.raises(FrozenInstanceError):
        TcpDestination("a", 1).host = "b"  # type: ignore[misc]


# Where to listen


@pytest.mark.parametrize(
    ("text", "expected", "printed"),
    [
        ("127.0.0.1:2222", ListenAddress("tcp", "127.0.0.1", 2222), "tcp://127.0.0.1:2222"),
        ("[::1]:2222", ListenAddress("tcp", "::1", 2222), "tcp://[::1]:2222"),
        (":2222", ListenAddress("tcp", "", 2222), "tcp://*:2222"),
        ("*:0", ListenAddress("tcp", "", 0), "tcp://*:0"),
        ("*", ListenAddress("tcp", "", 22), "tcp://*:22"),
        ("localhost", ListenAddress("tcp", "localhost", 22), "tcp://localhost:22"),
        ("::1", ListenAddress("tcp", "::1", 22), "tcp://[::1]:22"),
        ("tcp://0.0.0.0:22", ListenAddress("tcp", "0.0.0.0", 22), "tcp://0.0.0.0:22"),
        ("TLS://[::]", ListenAddress("tls", "::", 443), "tls://[::]:443"),
        ("tls://*", ListenAddress("tls", "", 443), "tls://*:443"),
        ("iroh://", ListenAddress("iroh", "", 0), "iroh://"),
        ("iroh://127.0.0.1:0", ListenAddress("iroh", "127.0.0.1", 0), "iroh://127.0.0.1:0"),
        ("quic://", ListenAddress("quic", "", 0), "quic://"),
        ("quic://:4433", ListenAddress("quic", "", 4433), "quic://*:4433"),
    ],
)
def test_listening(text: str, expected: ListenAddress, printed: str) -> None:
    assert parse_listen(text) == expected
    assert str(expected) == printed
    assert parse_listen(printed) == expected


def test_a_default_scheme_brings_its_port() -> None:
    assert parse_listen("::1", default_scheme="tls") == ListenAddress("tls", "::1", 443)
    assert parse_listen("", default_scheme="iroh") == ListenAddress("iroh", "", 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the host is empty"),
        ("tcp://", "the host is empty"),
        ("[]:22", "the host is empty"),
        ("2222", "a port alone is written :PORT"),
        ("quic://localhost", "the port is missing"),
        ("tcp://a/b", "character"),
        (":x", "the port is not a number"),
        ("://:22", "colons|character"),
    ],
)
def test_where_nothing_can_listen(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parse_listen(text)
    assert f"cannot listen on {text!r}" in str(caught.value)
    assert "expected ADDR:PORT" in str(caught.value)
