"""The side of SOCKS5 that asks an upstream proxy for a stream (RFC 1928 and RFC 1929).

It speaks first and waits for each answer. The format bounds what is kept: no answer of the proxy
is longer than 262 bytes.
"""

from __future__ import annotations

from enum import Enum, auto

from wraith.errors import Refusal
from wraith.protocol.asking_side import AskingSide
from wraith.protocol.events import (
    NEED_DATA,
    AuthenticationFailed,
    ClientEvent,
    Connected,
    Malformed,
    Refused,
)
from wraith.protocol.machine import Incomplete
from wraith.protocol.socks5 import messages
from wraith.protocol.socks5.messages import Command, MessageError, Method, Reply
from wraith.values.address import TcpDestination
from wraith.values.credentials import Credentials

# What RFC 1928, section 6, has for each reason. Proxies that have no better reply say that the host
# is unreachable when they mean that its name is unknown; the two are one for SOCKS.
_REFUSALS = {
    int(Reply.NOT_ALLOWED): Refusal.PROHIBITED,
    int(Reply.NETWORK_UNREACHABLE): Refusal.NETWORK_UNREACHABLE,
    int(Reply.HOST_UNREACHABLE): Refusal.HOST_UNREACHABLE,
    int(Reply.CONNECTION_REFUSED): Refusal.REFUSED,
    int(Reply.TTL_EXPIRED): Refusal.TIMED_OUT,
    int(Reply.COMMAND_NOT_SUPPORTED): Refusal.UNSUPPORTED,
}


class Phase(Enum):
    """Which of the proxy's answers comes next."""

    CHOICE = auto()
    STATUS = auto()
    REPLY = auto()


class Socks5Client(AskingSide):
    """One request to a SOCKS5 proxy, as `AskingSide`.

    Addresses are sent as such, and names as names, for the proxy to resolve. Raises `ValueError`
    if the name has more than 255 bytes.
    """

    def __init__(self, destination: TcpDestination, credentials: Credentials | None = None) -> None:
        super().__init__()
        self._request = messages.encode_request(Command.CONNECT, destination)
        self._credentials = credentials
        self._offered = [Method.NO_AUTHENTICATION_REQUIRED]
        if credentials is not None:
            self._offered.append(Method.USERNAME_PASSWORD)
        self._phase = Phase.CHOICE
        self._send(messages.encode_greeting(self._offered))

    @property
    def owes_an_answer(self) -> bool:
        """As `AskingSide.owes_an_answer`: until it has been told the destination."""
        return self._phase is not Phase.REPLY

    def _read_event(self) -> ClientEvent:
        try:
            if self._phase is Phase.CHOICE:
                self._read_choice()
            if self._phase is Phase.STATUS:
                self._read_status()
            return self._read_reply()
        except Incomplete:
            return NEED_DATA
        except _Unauthenticated:
            return AuthenticationFailed()
        except MessageError as error:
            return Malformed(str(error))

    def _read_choice(self) -> None:
        method = self._decode(messages.decode_choice)
        if method == Method.NO_ACCEPTABLE_METHODS:
            raise _Unauthenticated
        if method not in self._offered:
            raise MessageError("the proxy chose a method that was not offered")
        if method == Method.USERNAME_PASSWORD:
            assert self._credentials is not None  # else it was not offered
            self._send(messages.encode_credentials(self._credentials))
            self._phase = Phase.STATUS
        else:
            self._send_request()

    def _read_status(self) -> None:
        if not self._decode(messages.decode_status):
            raise _Unauthenticated
        self._send_request()

    def _read_reply(self) -> ClientEvent:
        code, bound = self._decode(messages.decode_reply)
        if code == Reply.SUCCEEDED:
            return Connected(bound)
        return Refused(code, _REFUSALS.get(code, Refusal.FAILED))

    def _send_request(self) -> None:
        self._send(self._request)
        self._phase = Phase.REPLY

    def __repr__(self) -> str:
        return f"<Socks5Client, {self._outcome or self._phase.name}>"


class _Unauthenticated(Exception):
    """The proxy did not take what we have to prove who we are."""
