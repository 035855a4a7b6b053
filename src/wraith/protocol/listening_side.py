"""The side that listens: it reads one request, gives one answer, and steps out of the way.

`_AFTER` and `_LEGAL` are the whole life of such a machine:

    READING ──ConnectRequest, UdpAssociateRequest──▶ REPLY_DUE ──accepted──▶ RELAYING
       └──Failed, PacRequest──▶ CLOSED ◀──refused───────┘

SOCKS5, SOCKS4 and HTTP each add how a request is read and how an answer is written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum

from wraith.errors import Refusal
from wraith.protocol.events import (
    BadRequest,
    ConnectRequest,
    Failed,
    LocalProtocolError,
    NeedData,
    PacRequest,
    ServerEvent,
    UdpAssociateRequest,
)
from wraith.protocol.machine import Machine
from wraith.values.address import HostPort


class Stage(Enum):
    """How far the exchange has come."""

    READING = "reading the request"
    REPLY_DUE = "a reply is due"
    RELAYING = "relaying"
    CLOSED = "closed"


# Where each event leads. A PAC file answers its request completely, so nothing is due after it.
_AFTER = {
    NeedData: Stage.READING,
    ConnectRequest: Stage.REPLY_DUE,
    UdpAssociateRequest: Stage.REPLY_DUE,
    PacRequest: Stage.CLOSED,
    Failed: Stage.CLOSED,
    BadRequest: Stage.CLOSED,
}

# When each call makes sense.
_LEGAL = {
    "next_event": {Stage.READING},
    "reply": {Stage.REPLY_DUE},
    "trailing_data": {Stage.REPLY_DUE, Stage.RELAYING},
}


class ListeningSide(Machine, ABC):
    """A machine that turns a handshake into one request.

    It does not limit what `receive_data` is given at once, but it stops asking for more as soon
    as no valid request can follow; each module says how many bytes that is. Feed it one read at a
    time, and nothing more once the event is anything but `NEED_DATA`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stage = Stage.READING
        self._failed: Failed | None = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the other side, cut in any way; after a failure they are dropped."""
        if self._stage is not Stage.CLOSED:
            super().receive_data(data)

    def next_event(self) -> ServerEvent:
        """Return what the bytes so far mean; after a failure, that failure again.

        Bytes from the other side never raise anything here. `LocalProtocolError` means that the
        request was reported already, and that an answer or the relaying is next.
        """
        if self._failed is not None:
            return self._failed
        self._check("next_event")
        event = self._read_event()
        self._stage = _AFTER[type(event)]
        if isinstance(event, Failed):
            self._failed = event
            self._incoming.clear()
        return event

    def trailing_data(self) -> bytes:
        """Return, once, the bytes that belong to the stream and came with the handshake.

        `LocalProtocolError` before there is a request, and after a refusal.
        """
        self._check("trailing_data")
        return self._rest()

    @abstractmethod
    def accept(self, bound: HostPort | None = None) -> None:
        """Say that the request is granted; `bound` is our own address on the far side, if known.

        Like the other answers, it raises `LocalProtocolError` unless a request waits for one.
        """

    @abstractmethod
    def refuse(self, refusal: Refusal) -> None:
        """Say why the request cannot be granted, as truly as the protocol lets us."""

    def refuse_command(self) -> None:
        """Say that we cannot do what was asked, whatever the destination."""
        self.refuse(Refusal.FAILED)

    @abstractmethod
    def _read_event(self) -> ServerEvent:
        """Read as far as the bytes go."""

    def _answer(self, message: bytes, *, granted: bool) -> None:
        self._check("reply")
        self._stage = Stage.RELAYING if granted else Stage.CLOSED
        self._send(message)

    def _check(self, call: str) -> None:
        if self._stage not in _LEGAL[call]:
            raise LocalProtocolError(f"no {call} now: {self._stage.value}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self._stage.value}>"
