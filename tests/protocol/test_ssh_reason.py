from __future__ import annotations

import pytest

from wraith.errors import Refusal
from wraith.protocol.ssh_reason import OpenFailure, decode_refusal, encode_refusal


@pytest.mark.parametrize("refusal", list(Refusal))
def test_our_server_is_understood_exactly(refusal: Refusal) -> None:
    code, reason = encode_refusal(refusal)
    assert decode_refusal(code, reason) is refusal
    assert decode_refusal(99, reason) is refusal
    assert reason.startswith(f"{refusal.value}: ")


def test_codes_are_those_of_the_rfc() -> None:
    assert encode_refusal(Refusal.REFUSED) == (2, "ECONNREFUSED: connection refused")
    assert encode_refusal(Refusal.PROHIBITED) == (1, "EPERM: not allowed")
    assert encode_refusal(Refusal.UNSUPPORTED)[0] == 3
    assert encode_refusal(Refusal.RESOURCE_SHORTAGE)[0] == 4
    assert [failure.value for failure in OpenFailure] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("code", "reason", "refusal"),
    [
        # OpenSSH: strerror, gai_strerror, and nothing in particular
        (2, "Connection refused", Refusal.REFUSED),
        (2, "No route to host", Refusal.HOST_UNREACHABLE),
        (2, "Network is unreachable", Refusal.NETWORK_UNREACHABLE),
        (2, "Connection timed out", Refusal.TIMED_OUT),
        (2, "Operation timed out", Refusal.TIMED_OUT),
        (2, "Name or service not known", Refusal.NAME_UNKNOWN),
        (2, "Temporary failure in name resolution", Refusal.NAME_UNKNOWN),
        (2, "nodename nor servname provided, or not known", Refusal.NAME_UNKNOWN),
        (2, "No address associated with hostname", Refusal.NAME_UNKNOWN),
        (2, "open failed", Refusal.FAILED),
        (1, "open failed", Refusal.PROHIBITED),
        (2, "administratively prohibited", Refusal.PROHIBITED),
        # asyncssh: Python's OSError
        (2, "[Errno 111] Connect call failed ('192.0.2.1', 1)", Refusal.REFUSED),
        (2, "Multiple exceptions: [Errno 111] Connect, [Errno 101] Network", Refusal.REFUSED),
        (2, "[Errno 113] No route to host", Refusal.HOST_UNREACHABLE),
        (2, "[Errno -2] Name or service not known", Refusal.NAME_UNKNOWN),
        (2, "[Errno 61] Connect call failed ('192.0.2.1', 1)", Refusal.REFUSED),
        (2, "[Errno 9999] Host is down", Refusal.HOST_UNREACHABLE),
        (1, "Port forwarding not permitted to a.example port 80", Refusal.PROHIBITED),
        (1, "Connection forwarding denied", Refusal.PROHIBITED),
        # Dropbear and Go
        (2, "Error connecting: Connection refused", Refusal.REFUSED),
        (2, "dial tcp 192.0.2.1:80: connect: network is unreachable", Refusal.NETWORK_UNREACHABLE),
        (2, "dial tcp 192.0.2.1:80: i/o timeout", Refusal.TIMED_OUT),
        (2, "dial tcp: lookup a.example: no such host", Refusal.NAME_UNKNOWN),
        (2, "socket: too many open files", Refusal.RESOURCE_SHORTAGE),
        # Nothing but a code
        (1, "", Refusal.PROHIBITED),
        (2, "", Refusal.FAILED),
        (3, "Unknown channel type", Refusal.UNSUPPORTED),
        (4, "", Refusal.RESOURCE_SHORTAGE),
        (0, "", Refusal.FAILED),
        (2**32 - 1, "\ufffd", Refusal.FAILED),
        # Looks like ours, but is not
        (2, "ENOSUCH: whatever", Refusal.FAILED),
        (4, "ECONNREFUSEDLY", Refusal.RESOURCE_SHORTAGE),
        (2, "not ECONNREFUSED: really", Refusal.FAILED),
    ],
)
def test_other_servers_are_understood_as_well_as_can_be(
    code: int, reason: str, refusal: Refusal
) -> None:
    assert decode_refusal(code, reason) is refusal
    if "Errno" not in reason and "ENO" not in reason and "ECONN" not in reason:
        assert decode_refusal(code, reason.upper()) is refusal
