"""The head of an HTTP/1.x request or answer: read strictly, and rewritten for the origin.

Strictly, because what one program takes for a header another may take for two. Lines end in CRLF
or in LF, as RFC 9112, section 2.2, allows; a line that goes on in the next (obs-fold), a NUL or
another control character, and a space before the colon are all refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

#: As long as a head may be, in bytes; nginx takes 8 KiB a line, and Node 16 KiB in all.
MAX_HEAD_BYTES = 16 * 1024

#: As many header lines as a head may have; the same number as Apache and Python's own client.
MAX_HEADER_LINES = 100

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%b) ([^\x00-\x20\x7f]+) (HTTP/1\.[01])" % _TOKEN)
# The reason phrase may be missing, and the space before it with it (RFC 9112, section 4).
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_HEADER_NAME = re.compile(_TOKEN)
_NOT_IN_A_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_END = re.compile(rb"\n\r?\n")

# What is between the browser and us, and not for the origin (RFC 9110, section 7.6.1). A Host is
# written anew from the target, which counts for more (RFC 9112, section 3.2.2).
_NOT_FOR_THE_ORIGIN = frozenset({b"connection", b"keep-alive", b"host"})

# How long the body is stays with the body, even if a Connection header says otherwise.
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})

Header: TypeAlias = tuple[bytes, bytes]


class HeadError(ValueError):
    """A head that is not to be trusted; the message says why, without any of it."""


@dataclass(frozen=True, slots=True, repr=False)
class RequestHead:
    """A request line and the headers, names as they came and values without the space round."""

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[Header, ...]

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of every header called `name`, which is given in lower case."""
        return _values(self.headers, name)

    def __repr__(self) -> str:
        return f"<RequestHead ***, {len(self.headers)} headers>"


@dataclass(frozen=True, slots=True, repr=False)
class ResponseHead:
    """A status and the headers, as in a `RequestHead`; the reason phrase means nothing."""

    status: int
    headers: tuple[Header, ...]

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of every header called `name`, which is given in lower case."""
        return _values(self.headers, name)

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}, {len(self.headers)} headers>"


def _values(headers: tuple[Header, ...], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def find_head_end(data: bytes | bytearray, scanned: int = 0) -> int | None:
    """Return how long the head is, with the empty line that ends it; `None` while that lacks.

    The first `scanned` bytes were searched before: only an end that reaches beyond them is new.
    """
    match = _END.search(data, max(0, scanned - 2))
    return match.end() if match else None


def parse_head(data: bytes) -> RequestHead:
    """Return the head in `data`, which ends with an empty line; `HeadError` if it is no such."""
    lines = _lines(data)
    request_line = _REQUEST_LINE.fullmatch(lines[0])
    if request_line is None:
        raise HeadError("the first line is not an HTTP/1 request")
    method, target, version = request_line.groups()
    return RequestHead(method, target, version, _parse_headers(lines[1:]))


def parse_response_head(data: bytes) -> ResponseHead:
    """Return the head of an answer in `data`, as `parse_head` does for a request."""
    lines = _lines(data)
    status_line = _STATUS_LINE.fullmatch(lines[0])
    if status_line is None:
        raise HeadError("the first line is not an HTTP/1 answer")
    return ResponseHead(int(status_line[1]), _parse_headers(lines[1:]))


def head_for_origin(head: RequestHead, authority: bytes, target: bytes) -> bytes:
    """Return `head` as the origin is to see it, in origin-form and for one request only.

    Without `Connection: close` the browser would send its next request, perhaps for another
    host, down the same stream.
    """
    dropped = _NOT_FOR_THE_ORIGIN | (_named_by_connection(head) - _FRAMING)
    kept = [
        (name, value)
        for name, value in head.headers
        if name.lower() not in dropped and not name.lower().startswith(b"proxy-")
    ]
    headers = [(b"Host", authority), *kept, (b"Connection", b"close")]
    lines = [b"%b %b %b" % (head.method, target, head.version)]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join([*lines, b"", b""])


def _named_by_connection(head: RequestHead) -> set[bytes]:
    lists = head.values(b"connection")
    return {name.strip().lower() for names in lists for name in names.split(b",")}


def _lines(data: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in data.split(b"\n")[:-2]]


def _parse_headers(lines: list[bytes]) -> tuple[Header, ...]:
    if len(lines) > MAX_HEADER_LINES:
        raise HeadError(f"there are more than {MAX_HEADER_LINES} header lines")
    return tuple(map(_parse_header, lines))


def _parse_header(line: bytes) -> Header:
    name, colon, value = line.partition(b":")
    if not colon or _HEADER_NAME.fullmatch(name) is None:
        raise HeadError("a header line does not begin with a name and a colon")
    if _NOT_IN_A_VALUE.search(value):
        raise HeadError("a header holds a control character")
    return name, value.strip(b" \t")
