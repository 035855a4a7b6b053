from __future__ import annotations

import pytest

from wraith.protocol.http_head import (
    MAX_HEADER_LINES,
    HeadError,
    find_head_end,
    head_for_origin,
    parse_head,
    parse_response_head,
)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_an_empty_line_ends_the_head(end: bytes) -> None:
    data = b"GET / HTTP/1.1" + end
    for length in range(len(data)):
        assert find_head_end(data[:length]) is None
        assert find_head_end(data, scanned=length) == len(data)
    assert find_head_end(data + b"\r\n\r\n") == len(data)
    assert parse_head(data).target == b"/"


def test_a_head_is_read() -> None:
    head = parse_head(b"POST http://a/ HTTP/1.0\r\nHost:a\r\nX-Y: \t b c \nHOST: \xff\r\n\r\n")
    assert (head.method, head.target, head.version) == (b"POST", b"http://a/", b"HTTP/1.0")
    assert head.headers == ((b"Host", b"a"), (b"X-Y", b"b c"), (b"HOST", b"\xff"))
    assert head.values(b"host") == [b"a", b"\xff"]
    assert repr(head) == "<RequestHead ***, 3 headers>"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET / HTTP/2.0",
        b"GET / http/1.1",
        b"GET /\0 HTTP/1.1",
        b"GET /\r HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"\x16\x03\x01",
    ],
)
def test_a_wrong_request_line(line: bytes) -> None:
    with pytest.raises(HeadError, match="first line"):
        parse_head(line + b"\r\n\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"Host",
        b": a",
        b"Host : a",
        b" folded",
        b"\tfolded",
        b"Ho st: a",
        b"H\xc3\xb6st: a",
        b"Host: a\0",
        b"Host: a\rX: y",
        b"Host: a\x7f",
        b"Host: a\x0b",
    ],
)
def test_a_wrong_header_line(line: bytes) -> None:
    with pytest.raises(HeadError, match="header"):
        parse_head(b"GET / HTTP/1.1\r\nA: b\r\n" + line + b"\r\n\r\n")


def test_headers_have_a_limit() -> None:
    start, line = b"GET / HTTP/1.1\r\n", b"A: b\r\n"
    assert len(parse_head(start + line * MAX_HEADER_LINES + b"\r\n").headers) == MAX_HEADER_LINES
    with pytest.raises(HeadError, match="more than 100"):
        parse_head(start + line * (MAX_HEADER_LINES + 1) + b"\r\n")


def test_the_origin_sees_one_request_of_its_own() -> None:
    head = parse_head(
        b"POST http://a.example/p HTTP/1.1\r\n"
        b"host: other.example\r\n"
        b"Proxy-Connection: keep-alive\r\n"
        b"proxy-authorization: Basic bWU6cHdk\r\n"
        b"Connection: Upgrade, x-private\r\n"
        b"Connection: content-length,transfer-encoding,\r\n"
        b"Keep-Alive: timeout=5\r\n"
        b"Upgrade: websocket\r\n"
        b"X-Private: 1\r\n"
        b"Content-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n"
        b"Cookie: a=b\r\n\r\n"
    )
    assert head_for_origin(head, b"a.example:81", b"/p") == (
        b"POST /p HTTP/1.1\r\n"
        b"Host: a.example:81\r\n"
        b"Content-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n"
        b"Cookie: a=b\r\n"
        b"Connection: close\r\n\r\n"
    )


def test_the_head_of_an_answer_is_read() -> None:
    head = parse_response_head(b"HTTP/1.1 200 All is well\r\nVia: a\r\nVIA:b\r\n\r\n")
    assert head.status == 200
    assert head.values(b"via") == [b"a", b"b"]
    assert repr(head) == "<ResponseHead 200, 2 headers>"
    assert parse_response_head(b"HTTP/1.0 404\n\n").headers == ()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 600 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/2 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1 200\0",
    ],
)
def test_the_first_line_of_no_answer(line: bytes) -> None:
    with pytest.raises(HeadError, match="not an HTTP/1 answer"):
        parse_response_head(line + b"\r\n\r\n")


def test_an_answer_with_too_many_headers() -> None:
    with pytest.raises(HeadError, match="header lines"):
        parse_response_head(b"HTTP/1.1 200 OK\n" + b"a: b\n" * (MAX_HEADER_LINES + 1) + b"\n")
