from wraith.protocol.events import (
    NEED_DATA,
    BadRequest,
    Connected,
    ConnectRequest,
    Failed,
    NeedData,
    PacRequest,
    UdpAssociateRequest,
)
from wraith.values.address import HostPort, TcpDestination

SECRET = TcpDestination("secret.example", 443)


def test_there_is_one_need_data() -> None:
    assert NeedData("need data") is NEED_DATA
    assert repr(NEED_DATA) == "NEED_DATA"


def test_events_may_be_logged_as_they_are() -> None:
    events = [
        ConnectRequest(SECRET),
        UdpAssociateRequest(SECRET),
        Connected(HostPort("secret.example", 1)),
    ]
    assert "secret" not in f"{events} {events[0]} {events[1]!s} {events[2]}"


def test_a_bad_request_is_a_failure() -> None:
    assert isinstance(BadRequest("x"), Failed)
    assert BadRequest("x") != Failed("x")
    assert repr(PacRequest("localhost")) == "PacRequest(host_header='localhost')"
