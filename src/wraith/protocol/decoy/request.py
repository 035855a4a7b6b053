"""What the lines of a request mean, and which status they deserve before its path is looked at."""

from __future__ import annotations

import re

from wraith.protocol.decoy.pages import HEADER_TOO_LARGE

BAD_REQUEST = 400
NOT_ALLOWED = 405
NOT_IMPLEMENTED = 501

MAX_HEADERS = 1000
"""Header lines in one request; Debian's nginx has this limit since its fixes of 2026."""

MAX_LENGTH = 2**63 - 1
"""The greatest Content-Length that a 64-bit file offset holds."""

_REQUEST_LINE = re.compile(
    rb"([A-Z_-]+) +"
    rb"(?:[A-Za-z][A-Za-z0-9+.-]*://(\[[^\]]*\]|[A-Za-z0-9.-]*)(?::[0-9]*)?)?"
    rb"([^ \r\n]*)"
    rb" *(?:HTTP/1\.([0-9]+))? *\r?\n"
)

_VALID_NAME = re.compile(rb"[A-Za-z0-9-]+")
_ESCAPE = re.compile(rb"%(.?)(.?)", re.DOTALL)
_NOT_IN_A_HOST = re.compile(rb"[\x00-\x20/\x7f]|\.\.")

_ONCE = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-range",
        b"expect",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"transfer-encoding",
    }
)
"""Headers that may come once only."""


class Request:
    """One request, as its lines come in. Each method returns a status once it is refused."""

    def __init__(self) -> None:
        self.method = b""
        self.version = 1000
        """Major times 1000 plus minor; as HTTP/1.0 until the line says otherwise."""

        self.length: int | None = None
        """The Content-Length; None without one."""

        self.chunked = False
        self.padded_browser = False
        self.keep_alive = False
        self._breaks_after_post = False
        self._close: bool | None = None
        self._seen: dict[bytes, bytes] = {}
        self._count = 0

    def __repr__(self) -> str:
        return f"<Request version={self.version} headers={self._count}>"

    @property
    def old(self) -> bool:
        """Whether it is HTTP/0.9: one line, and an answer without a head."""
        return self.version < 1000

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.chunked or bool(self.length)

    def read_method(self, line: bytes) -> None:
        """Take the method of a request line that goes wrong later: HEAD has no body even so."""
        self.method = line.partition(b" ")[0] if b" " in line else b""

    def read_line(self, line: bytes) -> int | None:
        """Take the request line, which the tables have found well formed."""
        match = _REQUEST_LINE.fullmatch(line)
        assert match is not None, "the tables let through what the pattern does not"
        self.method, host, target, minor = match.groups()
        if minor is None:
            self.version = 9
            if self.method != b"GET":
                return BAD_REQUEST
        else:
            self.version = 1000 + int(minor)
        if not is_inside_root(target or b"/"):
            return BAD_REQUEST
        if host is not None and not is_host(host):
            return BAD_REQUEST
        return None

    def read_header(self, line: bytes) -> int | None:
        """Take a header line with its line end; what is no proper name is passed over."""
        line = line.rstrip(b"\n").rstrip(b"\r")
        name, _, value = line.partition(b":")
        if _VALID_NAME.fullmatch(name) is None:
            return None
        self._count += 1
        if self._count > MAX_HEADERS:
            return HEADER_TOO_LARGE
        return self._take_header(name.lower(), value.strip(b" "))

    def _take_header(self, name: bytes, value: bytes) -> int | None:
        if name == b"connection":
            self._read_connection(value.lower())
        elif (name in _ONCE and name in self._seen) or (name == b"host" and not is_host(value)):
            return BAD_REQUEST
        elif name == b"user-agent" and name not in self._seen:
            self._read_browser(value)
        self._seen.setdefault(name, value)
        return None

    def _read_connection(self, value: bytes) -> None:
        if b"close" in value:
            self._close = True
        elif b"keep-alive" in value:
            self._close = False

    def _read_browser(self, value: bytes) -> None:
        """Internet Explorer and Chrome get longer pages; Opera and Gecko pose as either."""
        opera = b"Opera" in value
        msie = value.find(b"MSIE ")
        is_msie = msie >= 0 and msie + 7 < len(value) and not opera
        is_chrome = b"Chrome/" in value and b"Gecko/" not in value and not opera
        self.padded_browser = is_msie or is_chrome
        version = value[msie + 5 : msie + 7] if is_msie else b""
        old = version in (b"4.", b"5.") or (version == b"6." and b"SV1" not in value[msie:])
        self._breaks_after_post = old

    def end_of_head(self) -> int | None:
        """Judge the head as a whole, and learn how long the body is."""
        if self.version > 1000 and b"host" not in self._seen:
            return BAD_REQUEST
        length = self._seen.get(b"content-length")
        if length is not None:
            self.length = parse_length(length)
            if self.length is None:
                return BAD_REQUEST
        if b"transfer-encoding" in self._seen:
            status = self._read_encoding(self._seen[b"transfer-encoding"])
            if status is not None:
                return status
        return NOT_ALLOWED if self.method in (b"CONNECT", b"TRACE") else None

    def _read_encoding(self, encoding: bytes) -> int | None:
        if self.version < 1001:
            return BAD_REQUEST
        if encoding.lower() != b"chunked":
            return NOT_IMPLEMENTED
        if self.length is not None:
            return BAD_REQUEST
        self.chunked = True
        return None

    def settle_keep_alive(self) -> None:
        """Decide whether the connection may go on after the answer, as far as the client has a say.

        Before this, no refusal keeps the connection.
        """
        wanted = self.version > 1000 if self._close is None else not self._close
        self.keep_alive = wanted and not (self._breaks_after_post and self.method == b"POST")


def parse_length(text: bytes) -> int | None:
    """A Content-Length in decimal digits; None if it is no such, or beyond 64 bits."""
    if not text.isdigit():
        return None
    digits = text.lstrip(b"0")
    if len(digits) > 19:  # and Python would refuse to read thousands of digits
        return None
    length = int(digits or b"0")
    return length if length <= MAX_LENGTH else None


def is_host(host: bytes) -> bool:
    """Whether a host, with or without a port, is one that a server would look up."""
    if _NOT_IN_A_HOST.search(host):
        return False
    if host.startswith(b"["):
        end = host.find(b"]") + 1
        name = host[:end] if end else host
    else:
        name = host.partition(b":")[0]
    # Of a name, one dot may be left over at the end, if it is the last of the whole.
    if name.endswith(b".") and host.rfind(b".") == len(name) - 1:
        name = name[:-1]
    return bool(name)


def is_inside_root(target: bytes) -> bool:
    """Whether the path of a target can be decoded and does not climb out of `/`."""
    path = re.split(rb"[?#]", target, maxsplit=1)[0]
    decoded = _decode(path)
    if decoded is None:
        return False
    depth = 0
    for segment in decoded.split(b"/"):
        if segment == b"..":
            depth -= 1
            if depth < 0:
                return False
        elif segment not in (b"", b"."):
            depth += 1
    return True


def _decode(path: bytes) -> bytes | None:
    """The path with its escapes decoded; None where one is none, or a NUL."""
    decoded = bytearray()
    position = 0
    for match in _ESCAPE.finditer(path):
        decoded += path[position : match.start()]
        digits = match[1] + match[2]
        if re.fullmatch(rb"[0-9A-Fa-f]{2}", digits) is None or digits == b"00":
            return None
        decoded.append(int(digits, 16))
        position = match.end()
    return bytes(decoded + path[position:])
