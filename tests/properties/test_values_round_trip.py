"""What is printed can be read again, and what is read was meant."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from hypothesis import assume, given
from hypothesis import strategies as st

from wraith.errors import UsageError
from wraith.values.address import (
    Destination,
    HostPort,
    ListenAddress,
    TcpDestination,
    UnixDestination,
    UnixPath,
    parse_destination,
    parse_host_port,
    parse_listen,
)
from wraith.values.credentials import Credentials, parse_credentials
from wraith.values.forward_spec import (
    LocalForward,
    RemoteForward,
    parse_local_forward,
    parse_remote_forward,
)
from wraith.values.host_text import TextError, checked_host

ports = st.integers(0, 65535)
names = st.from_regex(r"[a-z0-9ü]([a-z0-9.-]{0,30}[a-zé])?", fullmatch=True)
hosts = names | st.ip_addresses().map(str)
host_ports = st.builds(HostPort, hosts, ports)
# The binds of forwards and of --listen may be every interface.
binds = st.builds(HostPort, hosts | st.just(""), ports)
paths = st.from_regex(r"(~|\.|\.\.|[a-z ]+)?/[a-z /.-]*", fullmatch=True)
listens = binds | st.builds(UnixPath, paths)
tcp_destinations = st.builds(TcpDestination, hosts, ports)
targets = st.builds(TcpDestination, hosts, st.integers(1, 65535)) | st.builds(
    UnixDestination, paths
)

# Texts that are nearly right, for the parsers to be wrong about.
texts = st.text(st.sampled_from(":[]/*.a1 \0\n%-") | st.characters(), max_size=40)


@given(host_ports)
def test_addresses(address: HostPort) -> None:
    assert parse_host_port(str(address)) == address


@given(tcp_destinations | st.builds(UnixDestination, paths))
def test_destinations(destination: Destination) -> None:
    assert parse_destination(destination.reveal()) == destination


@given(st.from_regex(r"[a-z][a-z0-9+.-]*", fullmatch=True), binds)
def test_listen_addresses(scheme: str, bind: HostPort) -> None:
    address = ListenAddress(scheme, bind.host, bind.port)
    assert parse_listen(str(address), default_scheme="other") == address


@given(listens, targets)
def test_forwards(listen: HostPort | UnixPath, target: Destination) -> None:
    local, remote = LocalForward(listen, target), RemoteForward(listen, target)
    assert parse_local_forward(local.reveal()) == local
    assert parse_remote_forward(remote.reveal()) == remote


@given(binds)
def test_remote_proxies(listen: HostPort) -> None:
    forward = RemoteForward(listen, None)
    assert parse_remote_forward(forward.reveal()) == forward


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_credentials(username: str, password: str) -> None:
    assume(":" not in username)
    credentials = parse_credentials(f"{username}:{password}")
    assert credentials == Credentials(username, password)
    assert credentials.matches(username.encode(), password.encode())
    assert not credentials.matches(username.encode(), password.encode() + b"x")


@given(texts)
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    for parse in (
        parse_host_port,
        parse_destination,
        parse_listen,
        parse_local_forward,
        parse_remote_forward,
        parse_credentials,
    ):
        assert "\n" not in outcome(parse, text)


def outcome(parse: Callable[[str], object], text: str) -> str:
    """What came of it, for people; any other error than the documented one gets out."""
    try:
        return repr(parse(text))
    except UsageError as error:
        return str(error)


@given(texts, ports)
def test_a_host_from_the_wire_is_safe_to_write_down(host: str, port: int) -> None:
    try:
        destination = TcpDestination.from_wire(host, port)
    except UsageError:
        return
    assert parse_destination(destination.reveal()) == destination
    assert destination.host.isprintable() or not destination.host.isascii()


@given(st.text(max_size=60))
def test_brackets_belong_to_addresses_alone(text: str) -> None:
    try:
        host = checked_host(text)
    except TextError:
        return
    if ":" in host:
        assert ipaddress.ip_address(host).version == 6
