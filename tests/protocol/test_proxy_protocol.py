"""The PROXY header, both versions, however it is cut and whatever stands in it."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.protocol.machine import Cursor, Incomplete
from wraith.protocol.proxy_protocol import (
    MAX_V1,
    MAX_V2,
    SIGNATURE,
    ProxyHeaderError,
    decode_header,
)
from wraith.values.address import HostPort


def v2(command: int, family: int, body: bytes, size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    return SIGNATURE + bytes((command, family)) + length.to_bytes(2, "big") + body


V4 = bytes((203, 0, 113, 7, 192, 0, 2, 1)) + (51234).to_bytes(2, "big") + b"\0\x16"
V6 = ipaddress.ip_address("2001:db8::7").packed + bytes(15) + b"\1" + b"\xc8\x22\0\x16"
MAPPED = ipaddress.ip_address("::ffff:203.0.113.7").packed + bytes(16) + b"\xc8\x22\0\x16"

GOOD = [
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 22\r\n", HostPort("203.0.113.7", 51234)),
    (b"PROXY TCP6 2001:db8::7 ::1 51234 22\r\n", HostPort("2001:db8::7", 51234)),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 22\r\n", HostPort("203.0.113.7", 1)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    (v2(0x21, 0x11, V4), HostPort("203.0.113.7", 51234)),
    (v2(0x21, 0x11, V4 + b"\3\0\4abcd"), HostPort("203.0.113.7", 51234)),
    (v2(0x21, 0x21, V6), HostPort("2001:db8::7", 51234)),
    (v2(0x21, 0x21, MAPPED), HostPort("203.0.113.7", 51234)),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x11, V4), None),
    (v2(0x21, 0x00, b"whatever"), None),
    (v2(0x21, 0x31, bytes(216)), None),
]


@pytest.mark.parametrize(("header", "origin"), GOOD)
def test_a_header_is_read_when_it_is_whole_and_not_a_byte_more(
    header: bytes, origin: HostPort | None
) -> None:
    for length in range(len(header)):
        with pytest.raises(Incomplete):
            decode_header(Cursor(header[:length]))
    cursor = Cursor(header + b"SSH-2.0-client\r\n")
    assert decode_header(cursor) == origin
    assert cursor.position == len(header)


@pytest.mark.parametrize(
    "header",
    [
        b"SSH-2.0-",
        b"PROXY4",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 22\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 66000 22\r\n",
        b"PROXY TCP4 203.0.113.777 192.0.2.1 1 22\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 1 22\r\n",
        b"PROXY TCP6 203.0.113.7 192.0.2.1 1 22\r\n",
        b"PROXY UDP4 203.0.113.7 192.0.2.1 1 22\r\n",
        b"PROXY TCP4 \xff 192.0.2.1 1 22\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY " + b"x" * MAX_V1,
        v2(0x11, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x11, V4[:-1]),
        v2(0x21, 0x21, V4),
        v2(0x21, 0x41, V4),
        v2(0x21, 0x11, b"", MAX_V2 + 1),
    ],
)
def test_what_is_no_header_is_told_at_once(header: bytes) -> None:
    with pytest.raises(ProxyHeaderError) as caught:
        decode_header(Cursor(header))
    assert "203" not in str(caught.value)


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=50))
def test_every_origin_survives_both_versions(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, extension: bytes
) -> None:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    expected = HostPort(str(mapped or address), port)
    other = "192.0.2.1" if address.version == 4 else "::1"
    line = f"PROXY TCP{address.version} {address} {other} {port} 22\r\n".encode()
    assert decode_header(Cursor(line)) == expected
    family = 0x11 if address.version == 4 else 0x21
    body = address.packed * 2 + port.to_bytes(2, "big") + b"\0\x16" + extension
    assert decode_header(Cursor(v2(0x21, family, body))) == expected


beginnings = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"])


@given(beginnings, st.binary(max_size=300))
def test_garbage_is_incomplete_or_refused_and_more_of_it_changes_no_verdict(
    start: bytes, rest: bytes
) -> None:
    data = start + rest
    verdicts = []
    for length in range(len(data) + 1):
        with suppress(Incomplete):
            try:
                verdicts.append(decode_header(Cursor(data[:length])))
            except ProxyHeaderError:
                verdicts.append("bad")  # type: ignore[arg-type]
    assert len(set(map(str, verdicts))) <= 1
