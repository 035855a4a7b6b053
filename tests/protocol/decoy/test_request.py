from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.protocol.decoy.pages import HEADER_TOO_LARGE
from wraith.protocol.decoy.request import (
    MAX_HEADERS,
    Request,
    is_host,
    is_inside_root,
    parse_length,
)


def asked(line: bytes, *headers: bytes) -> tuple[Request, int | None]:
    """A request, and the first refusal on the way to the end of its head."""
    request = Request()
    status = request.read_line(line + b"\r\n")
    for header in headers:
        status = status or request.read_header(header + b"\r\n")
    return request, status or request.end_of_head()


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        (b"GET / HTTP/1.1", [b"Host: a"], None),
        (b"GET / HTTP/1.0", [], None),
        (b"GET / HTTP/1.1", [], 400),
        (b"GET / HTTP/1.1", [b"Host:"], 400),
        (b"GET / HTTP/1.1", [b"Host"], 400),
        (b"GET / HTTP/1.1", [b"Host: a", b"host: b"], 400),
        (b"GET / HTTP/1.1", [b"Host: a", b"Expect: x", b"Expect: x"], 400),
        (b"GET / HTTP/1.1", [b"Host: a", b"Cookie: x", b"Cookie: x", b"a_b: c", b"nonsense"], None),
        (b"GET http://h/ HTTP/1.1", [b"Host: a"], None),
        (b"GET http:///x HTTP/1.1", [b"Host: a"], 400),
        (b"GET /%zz HTTP/1.1", [b"Host: a"], 400),
        (b"GET /", [], None),
        (b"PUT /", [], 400),
        (b"TRACE / HTTP/1.1", [b"Host: a"], 405),
        (b"CONNECT / HTTP/1.0", [], 405),
        (b"PUT / HTTP/1.0", [b"Content-Length: x"], 400),
        (b"PUT / HTTP/1.0", [b"Transfer-Encoding: chunked"], 400),
        (b"PUT / HTTP/1.1", [b"Host: a", b"Transfer-Encoding: gzip"], 501),
        (b"PUT / HTTP/1.1", [b"Host: a", b"Transfer-Encoding: Chunked"], None),
        (
            b"PUT / HTTP/1.1",
            [b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 1"],
            400,
        ),
    ],
)
def test_what_a_head_deserves(line: bytes, headers: list[bytes], status: int | None) -> None:
    assert asked(line, *headers)[1] == status


def test_there_may_be_a_thousand_headers() -> None:
    headers = [b"a%d: b" % number for number in range(MAX_HEADERS)]
    assert asked(b"GET / HTTP/1.0", *headers)[1] is None
    assert asked(b"GET / HTTP/1.0", *headers, b"one: more")[1] == HEADER_TOO_LARGE


@pytest.mark.parametrize(
    ("line", "headers", "keep_alive"),
    [
        (b"GET / HTTP/1.1", [], True),
        (b"GET / HTTP/1.0", [], False),
        (b"GET / HTTP/1.1", [b"Connection: notclosed"], False),
        (b"GET / HTTP/1.0", [b"Connection: Keep-Alive, x"], True),
        (b"GET / HTTP/1.0", [b"Connection: upgrade"], False),
        (b"GET / HTTP/1.1", [b"Connection: close", b"Connection: keep-alive"], True),
        (b"POST / HTTP/1.1", [b"User-Agent: MSIE 6.0; x"], False),
        (b"POST / HTTP/1.1", [b"User-Agent: MSIE 5.0; x"], False),
        (b"POST / HTTP/1.1", [b"User-Agent: MSIE 6.0; SV1; x"], True),
        (b"POST / HTTP/1.1", [b"User-Agent: MSIE 7.0; x"], True),
        (b"GET / HTTP/1.1", [b"User-Agent: MSIE 6.0; x"], True),
    ],
)
def test_whether_the_connection_is_kept(
    line: bytes, headers: list[bytes], keep_alive: bool
) -> None:
    request, status = asked(line, b"Host: a", *headers)
    assert status is None
    request.settle_keep_alive()
    assert request.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("agent", "padded"),
    [
        (b"MSIE 8.0; x", True),
        (b"MSIE 8", False),
        (b"AppleWebKit (like Gecko) Chrome/1", True),
        (b"Gecko/1 Chrome/1", False),
        (b"Opera MSIE 8.0; Chrome/1", False),
        (b"curl/8", False),
    ],
)
def test_some_browsers_hide_short_pages(agent: bytes, padded: bool) -> None:
    request, _ = asked(b"GET / HTTP/1.0", b"User-Agent: " + agent, b"User-Agent: MSIE 8.0; x")
    assert request.padded_browser is padded, "and only the first says who it is"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        (b"0", 0),
        (b"00", 0),
        (b"12", 12),
        (b"9223372036854775807", 2**63 - 1),
        (b"9223372036854775808", None),
        (b"1" * 5000, None),
        (b"0" * 5000 + b"7", 7),
        (b"", None),
        (b"+1", None),
        (b"1 ", None),
    ],
)
def test_content_lengths(text: bytes, length: int | None) -> None:
    assert parse_length(text) == length


@pytest.mark.parametrize(
    "host",
    [b"a", b"a:80", b"A.b.", b"[::1]", b"[::1]:443", b"[::1", b"a_b", b"\xff", b"a:b:c", b"a.:1.2"],
)
def test_hosts(host: bytes) -> None:
    assert is_host(host)


@pytest.mark.parametrize(
    "host", [b"", b".", b":80", b"a/b", b"a b", b"a\tb", b"a..b", b"a\x7f", b"a\0", b"a:1..2"]
)
def test_no_hosts(host: bytes) -> None:
    assert not is_host(host)


@pytest.mark.parametrize(
    "target",
    [b"/", b"?x", b"/a/../b", b"/a//..", b"/...", b"/?/../..", b"/#/..", b"/%3f/..", b"/%41"],
)
def test_paths_below_the_root(target: bytes) -> None:
    assert is_inside_root(target)


@pytest.mark.parametrize(
    "target",
    [b"/..", b"/a/../..", b"/%2e%2E", b"/a%2f..%2f..", b"//..", b"/%", b"/%4", b"/%4g", b"/%00"],
)
def test_paths_that_are_refused(target: bytes) -> None:
    assert not is_inside_root(target)


@given(st.lists(st.sampled_from([b"a", b"..", b".", b"", b"%2e", b"..."]), max_size=8))
def test_climbing_is_judged_as_by_the_naive_way(segments: list[bytes]) -> None:
    stack: list[bytes] = []
    climbed = False
    for segment in segments:
        plain = segment.replace(b"%2e", b".")
        if plain == b"..":
            climbed = climbed or not stack
            stack = stack[:-1]
        elif plain not in (b"", b"."):
            stack.append(plain)
    assert is_inside_root(b"/" + b"/".join(segments)) is not climbed


def test_a_request_tells_nothing_of_what_was_asked() -> None:
    assert (
        repr(asked(b"GET /secret HTTP/1.0", b"Cookie: x")[0]) == "<Request version=1000 headers=1>"
    )
