"""nginx's answers, byte for byte: the heads, the error pages and their padding."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

HEADER_TOO_LARGE = 494
PLAIN_ON_TLS = 497
"""nginx's own codes, which go out as 400 with a page of their own."""

_REASONS = {
    400: "Bad Request",
    404: "Not Found",
    405: "Not Allowed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Large",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
}

_EXPLAINED = {
    HEADER_TOO_LARGE: "Request Header Or Cookie Too Large",
    PLAIN_ON_TLS: "The plain HTTP request was sent to HTTPS port",
}

_PADDING = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n" * 6


@dataclass(frozen=True, slots=True)
class Form:
    """In which form an answer is given."""

    head: bool = True
    """HTTP/0.9 has no head."""

    body: bool = True
    """HEAD has no body."""

    padded: bool = False
    """Some browsers hide short error pages, so that theirs are longer."""

    keep_alive: bool = False


def _page(status: int) -> str:
    reason = _REASONS[400 if status in _EXPLAINED else status]
    title = f"400 {_EXPLAINED[status]}" if status in _EXPLAINED else f"{status} {reason}"
    explanation = f"<center>{_EXPLAINED[status]}</center>\r\n" if status in _EXPLAINED else ""
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{400 if status in _EXPLAINED else status} {reason}</h1></center>\r\n"
        f"{explanation}<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )


_PAGES = {status: _page(status) for status in (*_REASONS, *_EXPLAINED)}


def answer(status: int, form: Form, now: float) -> bytes:
    """Return a whole answer; `now` is the time of day in seconds since 1970."""
    page = _PAGES[status] + (_PADDING if form.padded else "")
    text = _head(status, len(page), form, now) if form.head else ""
    return (text + page if form.body else text).encode()


def _head(status: int, length: int, form: Form, now: float) -> str:
    line = 400 if status in _EXPLAINED else status
    return (
        f"HTTP/1.1 {line} {_REASONS[line]}\r\n"
        "Server: nginx\r\n"
        f"Date: {http_date(now)}\r\n"
        "Content-Type: text/html\r\n"
        f"Content-Length: {length}\r\n"
        f"Connection: {'keep-alive' if form.keep_alive else 'close'}\r\n\r\n"
    )


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def http_date(now: float) -> str:
    """A date as RFC 9110, section 5.6.7, has it; the locale has no say in it."""
    at = datetime.fromtimestamp(now, UTC)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year} {at:%H:%M:%S} GMT"
