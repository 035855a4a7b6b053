"""The side of SOCKS5 that asks an upstream proxy for a stream (RFC 1928 and RFC 1929).

It speaks first and waits for each answer. The format bounds what is kept: no answer of the proxy
is longer than 262 bytes.
"""

from __future__ import annotations

from enum import Enum, auto

from wraith.protocol.events import (
    NEED_DATA,
    AuthenticationFailed,
    ClientEvent,
    Connected,
    LocalProtocolError,
    Malformed,
    NeedData,
    Refused,
)
from wraith.protocol.machine import Incomplete, Machine
from wraith.protocol.socks5 import messages
from wraith.protocol.socks5.messages import Command, MessageError, Method, Reply
from wraith.values.address import TcpDestination
from wraith.values.credentials import Credentials


class Phase(Enum):
    """Which of the proxy's answers comes next."""

    CHOICE = auto()
    STATUS = auto()
    REPLY = auto()


class Socks5Client(Machine):
    """One request to a proxy: start by sending `data_to_send()`, then feed the answers.

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
        self._outcome: ClientEvent | None = None
        self._send(messages.encode_greeting(self._offered))

    def next_event(self) -> ClientEvent:
        """Return what the answers so far mean; the outcome, once there is one, stays.

        Nothing that the proxy sends raises anything here. After `Connected` the stream begins
        with `trailing_data`; after any other outcome the connection is of no more use.
        """
        if self._outcome is not None:
            return self._outcome
        event = self._read_event()
        if not isinstance(event, NeedData):
            self._outcome = event
        return event

    def trailing_data(self) -> bytes:
        """Return, once, what the destination said in the same breath as the proxy.

        Raises `LocalProtocolError` unless the outcome is `Connected`.
        """
        if not isinstance(self._outcome, Connected):
            raise LocalProtocolError("no trailing_data now: not connected")
        return self._rest()

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
        return Connected(bound) if code == Reply.SUCCEEDED else Refused(code)

    def _send_request(self) -> None:
        self._send(self._request)
        self._phase = Phase.REPLY

    def __repr__(self) -> str:
        return f"<Socks5Client, {self._outcome or self._phase.name}>"


class _Unauthenticated(Exception):
    """The proxy did not take what we have to prove who we are."""
