"""The smallest HTTP server: one request, one answer, the end (RFC 9112)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wraith.protocol.http_answers import page
from wraith.protocol.http_head import (
    MAX_HEAD_BYTES,
    HeadError,
    RequestHead,
    find_head_end,
    parse_head,
)
from wraith.streams.deadlines import Deadlines

Answer = Callable[[RequestHead], bytes]
"""The complete response to a request; its body, if it has one, is not looked at."""


class OneAnswer(asyncio.Protocol):
    """One client, which has as long as the deadlines say for all of it.

    Whoever says nothing that is a request gets 400, whoever talks too long 431.
    """

    def __init__(self, answer: Answer, deadlines: Deadlines[OneAnswer]) -> None:
        self._answer = answer
        self._deadlines = deadlines
        self._head = bytearray()
        self._stream: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport
        self._deadlines.add(self)

    def too_late(self) -> None:
        """Its time is over."""
        self._stream.abort()

    def data_received(self, data: bytes) -> None:
        """More of the request."""
        if self._stream.is_closing():
            return
        self._head += data
        end = find_head_end(self._head)
        if end is not None:
            self._stream.write(self._response(bytes(self._head[:end])))
        elif len(self._head) > MAX_HEAD_BYTES:
            self._stream.write(page(431, "This request is too long.\n"))
        else:
            return
        self._stream.close()

    def _response(self, head: bytes) -> bytes:
        try:
            request = parse_head(head)
        except HeadError:
            return page(400, "This is no request.\n")
        return self._answer(request)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._deadlines.discard(self)
