from __future__ import annotations

import pytest

from wraith.errors import Refusal
from wraith.protocol.http_head import ResponseHead, parse_response_head
from wraith.protocol.proxy_status import decode_refusal, encode_proxy_status


def head(status: int, *fields: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(status, fields)


@pytest.mark.parametrize("refusal", list(Refusal))
def test_what_we_send_is_what_we_understand(refusal: Refusal) -> None:
    answer = b"HTTP/1.1 502 Bad Gateway\r\n" + encode_proxy_status(refusal) + b"\r\n"
    assert decode_refusal(parse_response_head(answer)) is refusal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"r34.example; error=connection_refused, cdn; error=dns_error", Refusal.NAME_UNKNOWN),
        (b'p;received-status=502;error=connection_timeout;details="x"', Refusal.TIMED_OUT),
        (b"p; error=something_new", Refusal.HOST_UNREACHABLE),
        (b"p; error=", Refusal.HOST_UNREACHABLE),
        (b"", Refusal.HOST_UNREACHABLE),
    ],
)
def test_other_proxies_that_keep_to_the_standard(value: bytes, expected: Refusal) -> None:
    assert decode_refusal(head(502, (b"Proxy-Status", value))) is expected


def test_the_last_field_is_of_the_nearest_proxy() -> None:
    far = (b"Proxy-Status", b"far; error=dns_error")
    near = (b"proxy-status", b"near; error=connection_refused")
    assert decode_refusal(head(502, far, near)) is Refusal.REFUSED


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (503, b"ERR_CONNECT_FAIL 111", Refusal.REFUSED),
        (503, b"ERR_CONNECT_FAIL 113", Refusal.HOST_UNREACHABLE),
        (503, b"ERR_CONNECT_FAIL 110", Refusal.TIMED_OUT),
        (503, b"ERR_CONNECT_FAIL 12345", Refusal.HOST_UNREACHABLE),
        (503, b"ERR_DNS_FAIL 0", Refusal.NAME_UNKNOWN),
        (403, b"ERR_ACCESS_DENIED 0", Refusal.PROHIBITED),
        (500, b"ERR_CANNOT_FORWARD 0", Refusal.HOST_UNREACHABLE),
        (418, b"ERR_TEAPOT 0", Refusal.FAILED),
    ],
)
def test_squid(status: int, value: bytes, expected: Refusal) -> None:
    assert decode_refusal(head(status, (b"X-Squid-Error", value))) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (403, Refusal.PROHIBITED),
        (405, Refusal.PROHIBITED),
        (408, Refusal.TIMED_OUT),
        (504, Refusal.TIMED_OUT),
        (500, Refusal.HOST_UNREACHABLE),
        (502, Refusal.HOST_UNREACHABLE),
        (503, Refusal.HOST_UNREACHABLE),
        (301, Refusal.FAILED),
        (400, Refusal.FAILED),
        (599, Refusal.FAILED),
    ],
)
def test_a_status_alone(status: int, expected: Refusal) -> None:
    assert decode_refusal(head(status)) is expected
