"""One connection of a stranger: requests in turn, keep-alive, lingering, time-outs.

The connection is pulled, not pushed: `wants` says how much to read now, as a server with buffers of
its own would read it. What a server leaves unread in the kernel decides whether its end looks like
a FIN or like a reset, so that reading ahead would be seen.

    while decoy.closing is None and decoy.wants():
        data = read(decoy.wants())
        decoy.receive_data(data, more=…)   or   receive_nothing()   or   receive_eof()
        write each of decoy.messages()

Times are seconds of a clock that only goes forward; `deadline` is when to call `timed_out`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from wraith.protocol.decoy import pages
from wraith.protocol.decoy.bodies import BadBody, Body, ChunkedBody, CountedBody
from wraith.protocol.decoy.buffers import HeadBuffers
from wraith.protocol.decoy.request import BAD_REQUEST, Request
from wraith.protocol.decoy.tables import State, walk

NOT_FOUND = 404
BODY_TOO_LARGE = 413
TARGET_TOO_LONG = 414

_ENDS_THE_CONNECTION = frozenset({400, 413, 414, 497, 500, 501})
"""Answers after which the connection is not kept, whatever the client wished."""

_NEVER_LINGERS = frozenset({400, 497})

DISCARD_CHUNK = 4096
"""Bytes of an unwanted body that are read at a time."""


@dataclass(frozen=True, slots=True)
class Settings:
    """nginx's directives of the same names, in seconds and bytes, with nginx's defaults."""

    client_header_timeout: float = 60.0
    keepalive_timeout: float = 75.0
    keepalive_requests: int = 1000
    keepalive_time: float = 3600.0
    lingering_time: float = 30.0
    lingering_timeout: float = 5.0
    send_timeout: float = 60.0
    client_max_body_size: int = 1024 * 1024


DEFAULTS = Settings()


class Closing(Enum):
    """How the connection ends."""

    POLITELY = auto()
    """With TLS's close_notify, if there is TLS, and then at once."""

    QUIETLY = auto()
    """At once: the client has gone, or was too slow."""

    LINGERING = auto()
    """With close_notify and the end of our direction; then `linger` is asked about what comes."""


class _Phase(Enum):
    LINE = auto()
    HEADERS = auto()
    BODY = auto()
    """The body is thrown away, before the answer and perhaps after it."""

    IDLE = auto()
    OVER = auto()


class Decoy:
    """A stranger's connection, from its first byte.

    `plain` says that it speaks HTTP without TLS to a port that wants TLS. `began` is when it was
    accepted: the first request has to be there `client_header_timeout` later. `wall_clock` gives
    the time of day for the Date header.
    """

    def __init__(
        self,
        began: float,
        wall_clock: Callable[[], float],
        settings: Settings = DEFAULTS,
        *,
        plain: bool = False,
    ) -> None:
        self._settings = settings
        self._plain = plain
        self._began = began
        self._wall_clock = wall_clock
        self._now = began
        self._buffers = HeadBuffers()
        self._request = Request()
        self._requests = 0
        self._phase = _Phase.LINE
        self._state = State.START
        self._body: Body | None = None
        self._answer_due: int | None = None
        self._lingers = False
        self._pipelined = False
        self._more = False
        self._ended = False
        self._linger_until: float | None = None
        self._messages: list[bytes] = []
        self.deadline: float | None = began + settings.client_header_timeout
        self.closing: Closing | None = None

    def __repr__(self) -> str:
        return f"<Decoy {self._phase.name} requests={self._requests} closing={self.closing}>"

    # What the caller asks

    @property
    def idle(self) -> bool:
        """Whether it waits for a request of which no byte has come: the first to be given up."""
        return self._phase is _Phase.IDLE or (self._phase is _Phase.LINE and not self._requests)

    def wants(self) -> int:
        """Return how many bytes to read now, at most; 0 when it is over."""
        if self._phase is _Phase.OVER:
            return 0
        if self._phase is _Phase.BODY and self._body is not None:
            return min(DISCARD_CHUNK, self._body.wants())
        return self._buffers.room

    def messages(self) -> list[bytes]:
        """Return what to send, each in one write; each is told once."""
        messages, self._messages = self._messages, []
        return messages

    # What the caller tells

    def receive_data(self, data: bytes, now: float, *, more: bool) -> None:
        """Take what was read; `more` says that there is more already, be it the end."""
        self._now, self._more = now, more
        if self._phase is _Phase.BODY:
            self._receive_body(data)
            return
        if self._phase is _Phase.IDLE:
            self._phase, self.deadline = _Phase.LINE, None
        if self._phase is _Phase.LINE and self._state is State.START and not self._requests:
            self._requests = 1
        self._buffers.put(data)
        self._read_heads()

    def receive_nothing(self, now: float) -> None:
        """There is nothing to read now."""
        self._now, self._more = now, False
        if self._phase is _Phase.BODY:
            self._body_has_to_wait()
        else:
            self._arm_header_timeout()

    def receive_eof(self, now: float) -> None:
        """The client has ended its direction, or the connection is broken."""
        self._now, self._more, self._ended = now, False, True
        if self._answer_due is not None:
            self._body = None
            self._lingers = False
            self._give_answer()
            self._read_heads()
        else:
            self._close(Closing.QUIETLY)

    def timed_out(self, now: float) -> None:
        """`deadline` has come: whoever has not begun is told goodbye, all others are cut off."""
        self._now = now
        self._close(Closing.POLITELY if self.idle else Closing.QUIETLY)

    def give_up(self) -> None:
        """Somebody else needs the place of this idle connection."""
        self._close(Closing.POLITELY)

    def linger(self, now: float) -> float | None:
        """While lingering, return how long to wait for more to throw away; None for no longer."""
        if self._linger_until is None:
            self._linger_until = now + self._settings.lingering_time
        left = self._linger_until - now
        return min(left, self._settings.lingering_timeout) if left > 0 else None

    # The head

    def _read_heads(self) -> None:
        """Read the requests that have come, as far as they have."""
        while self._phase in (_Phase.LINE, _Phase.HEADERS):
            if not self._read_line():
                break

    def _read_line(self) -> bool:
        """Read one line; False when it has to wait for more bytes."""
        buffers = self._buffers
        if self._state is State.START:
            buffers.skip_blank()
        elif self._state is State.NAME_START:
            buffers.line = buffers.position
        self._state, buffers.position = walk(self._state, buffers.data, buffers.position)
        if self._state is State.DONE:
            self._end_line(bytes(buffers.data[buffers.line : buffers.position]))
        elif self._state is State.HEAD_DONE:
            self._end_head()
        elif self._state is State.INVALID:
            self._refuse(BAD_REQUEST)
        elif self._state is State.UNKNOWN_VERSION:
            self._refuse(505)
        else:
            return self._make_room()
        return True

    def _make_room(self) -> bool:
        buffers = self._buffers
        if not buffers.full:
            return False
        if self._state is State.START:
            buffers.wipe()
        elif not buffers.grow(in_line=self._state is not State.NAME_START):
            if self._phase is _Phase.HEADERS:
                self._lingers = True
                self._refuse(pages.HEADER_TOO_LARGE)
            else:
                self._refuse(TARGET_TOO_LONG)
            return True
        return False

    def _end_line(self, line: bytes) -> None:
        if self._phase is _Phase.LINE:
            status = self._request.read_line(line)
            self._phase, self._state = _Phase.HEADERS, State.NAME_START
            if status is None and self._request.old:
                self._serve()
                return
        else:
            self._state = State.NAME_START
            status = self._request.read_header(line)
            self._lingers = status == pages.HEADER_TOO_LARGE
        if status is not None:
            self._refuse(status)

    def _end_head(self) -> None:
        status = self._request.end_of_head()
        if status is None:
            self._serve()
        else:
            self._refuse(status)

    def _arm_header_timeout(self) -> None:
        if self.deadline is None:
            self.deadline = self._now + self._settings.client_header_timeout

    # The answer

    def _serve(self) -> None:
        """The head is good: find out that there is nothing here."""
        request, settings = self._request, self._settings
        if self._plain:
            self._refuse(pages.PLAIN_ON_TLS)
            return
        request.settle_keep_alive()
        self._lingers = request.has_body
        old = self._now - self._began > settings.keepalive_time
        if self._requests >= settings.keepalive_requests or old:
            request.keep_alive = False
        too_large = (request.length or 0) > settings.client_max_body_size
        self._refuse(BODY_TOO_LARGE if too_large else NOT_FOUND)

    def _refuse(self, status: int) -> None:
        """Answer with a status, once as much of the body is thrown away as is there."""
        request = self._request
        if self._phase is _Phase.LINE:
            request.read_method(bytes(self._buffers.data[self._buffers.line :]))
        if status in _ENDS_THE_CONNECTION:
            request.keep_alive = False
        if status in _NEVER_LINGERS:
            self._lingers = False
        self.deadline = None
        self._answer_due = status
        if not request.has_body:
            self._give_answer()
            return
        self._phase = _Phase.BODY
        self._body = ChunkedBody() if request.chunked else CountedBody(request.length or 0)
        self._discard_buffered(self._body)

    def _discard_buffered(self, body: Body) -> None:
        """Throw away what came along with the head."""
        buffers = self._buffers
        unread = buffers.skip(buffers.unread)
        try:
            rest = body.discard(unread)
        except BadBody:
            self._body = None
            self._request.keep_alive = False
            self._give_answer()
            return
        buffers.position -= len(rest)
        if body.done:
            self._body = None
            self._give_answer()
        elif not self._more:
            self._body_has_to_wait()

    def _give_answer(self) -> None:
        status, self._answer_due = self._answer_due, None
        assert status is not None
        request = self._request
        form = pages.Form(
            head=not request.old,
            body=request.old or request.method != b"HEAD",
            padded=request.padded_browser and not request.old,
            keep_alive=request.keep_alive,
        )
        self._messages.append(pages.answer(status, form, self._wall_clock()))
        self._end_request()

    # The body

    def _receive_body(self, data: bytes) -> None:
        body = self._body
        assert body is not None
        try:
            rest = body.discard(data)
        except BadBody:
            self._body_is_bad()
            return
        if body.done:
            self._body = None
            self._lingers = False
            self._linger_until = None
            self._buffers.put_back(rest)
            if self._answer_due is not None:
                self._give_answer()
            else:
                self._end_request()
            self._read_heads()
        elif not self._more:
            self._body_has_to_wait()

    def _body_is_bad(self) -> None:
        if self._answer_due is None:
            self._close(Closing.QUIETLY)
            return
        self._body = None
        self._request.keep_alive = False
        self._give_answer()

    def _body_has_to_wait(self) -> None:
        """Answer without the rest of the body, and go on throwing it away for a while."""
        if self._answer_due is not None:
            self._give_answer()
            return
        self._wait_for_body()

    def _wait_for_body(self) -> None:
        wait = self.linger(self._now)
        if wait is None:
            self._close(Closing.POLITELY)
        else:
            self.deadline = self._now + wait

    # The end of a request

    def _end_request(self) -> None:
        if self._body is not None:
            self._wait_for_body()
        elif self._ended:
            self._close(Closing.QUIETLY)
        elif self._request.keep_alive:
            self._keep_alive()
        elif self._lingers or self._buffers.unread or self._more or self._pipelined:
            self._close(Closing.LINGERING)
        else:
            self._close(Closing.POLITELY)

    def _keep_alive(self) -> None:
        self._request = Request()
        self._requests += 1
        self._state, self._lingers = State.START, False
        if self._buffers.next_request():
            self._pipelined = True
            self._phase, self.deadline = _Phase.LINE, None
        else:
            self._phase = _Phase.IDLE
            self.deadline = self._now + self._settings.keepalive_timeout

    def _close(self, closing: Closing) -> None:
        self._phase, self.deadline, self.closing = _Phase.OVER, None, closing
