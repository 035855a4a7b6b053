"""Stories of strangers, as nginx lives them; the real one is compared in interop/stealth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.protocol.decoy.machine import Closing, Decoy, Settings

NOON = 1_000_000_000.0
PAGE = b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET / HTTP/1.0\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NAMES = {
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Not Allowed",
    413: b"Request Entity Too Large",
    414: b"Request-URI Too Large",
    501: b"Not Implemented",
    505: b"HTTP Version Not Supported",
}


class Visit:
    """A transcript that checks itself: a connection that was accepted at time 0."""

    def __init__(self, settings: Settings | None = None, *, plain: bool = False) -> None:
        self.decoy = Decoy(0.0, lambda: NOON, settings or Settings(), plain=plain)
        self.now = 0.0

    def says(self, data: bytes, *, more: bool = False) -> Self:
        """The stranger sends; it is read as the decoy asks for it."""
        while data and (size := self.decoy.wants()):
            piece, data = data[:size], data[size:]
            self.decoy.receive_data(piece, self.now, more=more or len(piece) == size)
        if not more and self.decoy.closing is None:
            self.decoy.receive_nothing(self.now)
        return self

    def hangs_up(self) -> Self:
        self.decoy.receive_eof(self.now)
        return self

    def waits(self, seconds: float) -> Self:
        """Time passes, and is up."""
        self.now += seconds
        assert self.decoy.deadline == pytest.approx(self.now)
        self.decoy.timed_out(self.now)
        return self

    def later(self, seconds: float) -> Self:
        self.now += seconds
        assert self.decoy.deadline is None or self.decoy.deadline > self.now
        return self

    def hears(self, *statuses: int) -> Self:
        messages = self.decoy.messages()
        assert [message.split(b"\r\n")[0] for message in messages] == [
            b"HTTP/1.1 %d %b" % (status, NAMES[status]) for status in statuses
        ]
        return self

    def is_open(self) -> Self:
        assert self.decoy.closing is None
        return self

    def ends(self, closing: Closing) -> Self:
        assert self.decoy.closing is closing
        assert self.decoy.wants() == 0
        assert self.decoy.deadline is None
        return self


def test_one_answer_byte_for_byte() -> None:
    visit = Visit().says(b"GET /any HTTP/1.1\r\nHost: a\r\n\r\n")
    assert visit.decoy.messages() == [
        b"HTTP/1.1 404 Not Found\r\n"
        b"Server: nginx\r\n"
        b"Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n"
        b"Content-Type: text/html\r\n"
        b"Content-Length: 146\r\n"
        b"Connection: keep-alive\r\n\r\n" + PAGE + b"<center><h1>404 Not Found</h1></center>\r\n"
        b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    ]
    assert visit.decoy.messages() == [], "each is told once"


def test_a_head_has_no_body_even_if_its_line_goes_wrong() -> None:
    for line in (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HEAD * HTTP/1.1\r\n"):
        (message,) = Visit().says(line).decoy.messages()
        assert message.endswith(b"\r\n\r\n")
    (message,) = Visit().says(b"get\n").decoy.messages()
    assert message.endswith(b"</html>\r\n")


def test_http_0_9_has_no_head() -> None:
    visit = Visit().says(b"GET /\r\n")
    (message,) = visit.decoy.messages()
    assert message.startswith(b"<html>")
    visit.ends(Closing.POLITELY)
    (message,) = Visit().says(b"HEAD /\r\n").decoy.messages()
    assert message.startswith(b"<html>\r\n<head><title>400")


def test_chrome_gets_a_longer_page() -> None:
    line = b"GET / HTTP/1.0\r\nUser-Agent: Chrome/1\r\n\r\n"
    (message,) = Visit().says(line).decoy.messages()
    assert b"Content-Length: 548\r\n" in message
    assert message.count(b"friendly error page") == 6


def test_requests_in_turn_and_at_once() -> None:
    Visit().says(GET).hears(404).is_open().later(70).says(GET).hears(404).says(CLOSE).hears(
        404
    ).ends(Closing.POLITELY)
    Visit().says(GET * 3 + CLOSE).hears(404, 404, 404, 404).ends(Closing.LINGERING)
    Visit().says(GET + b"\r\n\n" + GET).hears(404, 404).is_open()


def test_what_has_come_and_is_not_read_makes_it_linger() -> None:
    Visit().says(CLOSE + b"more").hears(404).ends(Closing.LINGERING)
    Visit().says(CLOSE, more=True).hears(404).ends(Closing.LINGERING)


def test_lingering_takes_half_a_minute_at_most() -> None:
    decoy = Visit().says(CLOSE + b"more").decoy
    assert decoy.linger(100.0) == 5.0
    assert decoy.linger(127.0) == 3.0
    assert decoy.linger(130.0) is None


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"SSH-2", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n bad", 400),
        (b"TRACE / HTTP/1.0\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501),
        (b"GET /" + b"a" * 9000, 414),
    ],
)
def test_refusals_end_the_connection(said: bytes, status: int) -> None:
    visit = Visit().says(said).hears(status)
    assert visit.decoy.closing in (Closing.POLITELY, Closing.LINGERING)


def test_a_head_may_fill_four_large_buffers() -> None:
    line = b"X: " + b"v" * 7000 + b"\r\n"
    Visit().says(b"GET / HTTP/1.0\r\n" + line * 3 + b"\r\n").hears(404)
    Visit().says(b"GET / HTTP/1.0\r\n" + line * 5).hears(400).ends(Closing.LINGERING)
    Visit().says(b"GET / HTTP/1.0\r\nX: " + b"v" * 9000).hears(400).ends(Closing.LINGERING)


def test_a_thousand_headers_and_no_more() -> None:
    lines = b"".join(b"a%d: b\r\n" % number for number in range(1001))
    Visit().says(b"GET / HTTP/1.0\r\n" + lines).hears(400).ends(Closing.LINGERING)


def test_blank_lines_may_fill_the_buffer_again_and_again() -> None:
    Visit().says(b"\r\n" * 5000).is_open().says(GET).hears(404)


def test_buffers_are_freed_for_the_next_request() -> None:
    large = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"v" * 3000 + b"\r\n\r\n"
    Visit().says(large * 9).hears(*[404] * 9).is_open()
    huge = b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"v" * 7000 + b"\r\n") * 3 + b"\r\n"
    Visit().says(huge + huge + GET).hears(404, 404, 404).is_open()


def test_plain_text_on_the_tls_port() -> None:
    visit = Visit(plain=True).says(GET)
    (message,) = visit.decoy.messages()
    assert message.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"The plain HTTP request was sent to HTTPS port" in message
    visit.ends(Closing.POLITELY)


# Bodies


def test_a_body_is_thrown_away_with_its_head_or_after_it() -> None:
    Visit().says(POST + b"hello").hears(404).is_open().says(GET).hears(404)
    Visit().says(POST).hears(404).is_open().says(b"hel").says(b"lo" + GET).hears(404)
    Visit().says(POST, more=True).says(b"hello").hears(404).is_open().says(GET).hears(404)
    Visit().says(POST, more=True).says(b"hel", more=True).says(b"lo").hears(404).is_open()


def test_chunks_are_thrown_away_and_what_follows_is_read() -> None:
    chunks = b"5\r\nhello\r\n0\r\n\r\n"
    Visit().says(CHUNKED + chunks + GET).hears(404, 404).is_open()
    Visit().says(CHUNKED).hears(404).says(chunks + GET).hears(404).is_open()
    Visit().says(CHUNKED, more=True).says(chunks + GET * 60).hears(*[404] * 61)
    large = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"v" * 3000 + b"\r\n\r\n"
    huge = b"X: " + b"v" * 7000 + b"\r\n"
    Visit().says(CHUNKED).hears(404).says(chunks + large).hears(404).is_open()
    head = CHUNKED[:-2] + huge + huge + b"\r\n"
    Visit().says(GET[:-2] + huge * 2 + b"\r\n" + head).says(chunks + large).hears(404, 404, 404)


def test_a_bad_chunk_is_told_as_long_as_there_is_an_answer_to_tell_it_in() -> None:
    for visit in (Visit().says(CHUNKED + b"x"), Visit().says(CHUNKED, more=True).says(b"x")):
        (message,) = visit.decoy.messages()
        assert b"404 Not Found" in message
        assert b"Connection: close\r\n" in message
        visit.ends(Closing.LINGERING)
    Visit().says(CHUNKED).hears(404).says(b"x").hears().ends(Closing.QUIETLY)


def test_too_large_a_body_is_refused_and_taken_for_a_while() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n"
    Visit().says(head).hears(413).is_open().waits(5).ends(Closing.QUIETLY)
    Visit().says(head).hears(413).says(b"x" * 2_000_000).hears().ends(Closing.LINGERING)


def test_a_body_that_trickles_is_given_half_a_minute() -> None:
    visit = Visit().says(POST.replace(b"5", b"99")).hears(404)
    for _ in range(7):
        visit.later(4).says(b"x").is_open()
    assert visit.decoy.deadline == 30.0
    visit.now = 31.0
    visit.says(b"x").ends(Closing.POLITELY)


def test_a_body_is_read_to_its_end_and_then_there_might_be_more() -> None:
    head = b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n"
    Visit().says(head + b"ab").hears(404).ends(Closing.LINGERING)
    Visit().says(head).hears(404).says(b"ab").ends(Closing.LINGERING)


# Endings


def test_whoever_hangs_up_hears_no_goodbye() -> None:
    for said in (b"", b"GET", b"GET / HTTP/1.1\r\nHost:", GET):
        visit = Visit().says(said)
        visit.decoy.messages()
        visit.hangs_up().hears().ends(Closing.QUIETLY)
    Visit().says(POST).hears(404).hangs_up().hears().ends(Closing.QUIETLY)


def test_whoever_hangs_up_before_the_body_still_gets_the_answer() -> None:
    Visit().says(POST, more=True).hangs_up().hears(404).ends(Closing.QUIETLY)


def test_the_first_request_has_a_minute_from_the_beginning() -> None:
    Visit().waits(60).ends(Closing.POLITELY)
    Visit().later(50).says(b"GET").later(9).says(b" ").waits(1).hears().ends(Closing.QUIETLY)
    Visit().says(b"GET / HTTP/1.1\r\n").waits(60).hears().ends(Closing.QUIETLY)


def test_the_next_request_has_75_seconds_and_once_begun_a_minute() -> None:
    Visit().later(9).says(GET).hears(404).waits(75).ends(Closing.POLITELY)
    Visit().says(GET).hears(404).later(70).says(b"G").waits(60).hears().ends(Closing.QUIETLY)
    Visit().says(GET + b"G").hears(404).waits(60).hears().ends(Closing.QUIETLY)


def test_a_connection_has_so_many_requests_and_so_much_time() -> None:
    visit = Visit(Settings(keepalive_requests=3)).says(GET).says(GET).says(GET).hears(404, 404, 404)
    visit.ends(Closing.POLITELY)
    visit = Visit(Settings(keepalive_time=10)).says(GET).later(11).says(GET).hears(404, 404)
    visit.ends(Closing.POLITELY)


def test_an_idle_connection_may_be_given_up() -> None:
    visit = Visit()
    assert visit.decoy.idle
    assert not visit.says(b"G").decoy.idle
    visit = Visit().says(GET).hears(404)
    assert visit.decoy.idle
    visit.decoy.give_up()
    visit.ends(Closing.POLITELY)


def test_it_says_what_it_is_at_and_nothing_of_what_it_was_told() -> None:
    visit = Visit().says(b"GET /secret")
    assert repr(visit.decoy) == "<Decoy LINE requests=1 closing=None>"
    assert repr(visit.decoy._buffers) == "<HeadBuffers 11 of 11 of 1024>"


said = st.lists(
    st.sampled_from(
        [
            GET,
            CLOSE,
            POST + b"hello",
            CHUNKED + b"1\r\nx\r\n0\r\n\r\n",
            b"\r\n",
            b"GET /",
            b"x",
            b"\0",
        ]
    ),
    max_size=6,
).map(b"".join)


def played(pieces: Sequence[bytes]) -> list[bytes]:
    visit = Visit()
    for piece in pieces:
        visit.says(piece)
    return visit.decoy.messages()


@given(said, st.lists(st.integers(0, 400), max_size=4))
def test_cuts_change_no_answer(data: bytes, places: list[int]) -> None:
    cuts = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    pieces = [data[start:end] for start, end in pairwise(cuts)]
    assert played(pieces) == played([data])


@given(st.binary(max_size=3000))
def test_nothing_is_too_odd(data: bytes) -> None:
    visit = Visit().says(data)
    assert visit.decoy.closing is not None or visit.decoy.wants() > 0
