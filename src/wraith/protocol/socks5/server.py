"""The side of SOCKS5 that listens for browsers and other programs (RFC 1928 and RFC 1929).

The format itself bounds what is kept: a greeting has at most 257 bytes, credentials 513 and a
request 262. Each is dropped as soon as it is read, and a wrong byte ends the handshake at once.
"""

from __future__ import annotations

from enum import Enum, auto

from wraith.errors import Refusal
from wraith.protocol.events import (
    NEED_DATA,
    ConnectRequest,
    Failed,
    ServerEvent,
    UdpAssociateRequest,
)
from wraith.protocol.listening_side import ListeningSide
from wraith.protocol.machine import Incomplete
from wraith.protocol.socks5 import messages
from wraith.protocol.socks5.messages import Command, MessageError, Method, Reply
from wraith.values.address import HostPort
from wraith.values.credentials import Credentials


class Phase(Enum):
    """Which of the client's messages comes next."""

    GREETING = auto()
    CREDENTIALS = auto()
    REQUEST = auto()


# Where the choice of a method leads.
_PHASE_AFTER = {
    Method.NO_AUTHENTICATION_REQUIRED: Phase.REQUEST,
    Method.USERNAME_PASSWORD: Phase.CREDENTIALS,
}

# The true replies. An unknown name has none of its own; RFC 1928 has no word for a destination
# that stays silent, and TTL EXPIRED is the one that programs show as a time-out.
_REPLIES = {
    Refusal.PROHIBITED: Reply.NOT_ALLOWED,
    Refusal.REFUSED: Reply.CONNECTION_REFUSED,
    Refusal.HOST_UNREACHABLE: Reply.HOST_UNREACHABLE,
    Refusal.NETWORK_UNREACHABLE: Reply.NETWORK_UNREACHABLE,
    Refusal.NAME_UNKNOWN: Reply.HOST_UNREACHABLE,
    Refusal.TIMED_OUT: Reply.TTL_EXPIRED,
    Refusal.UNSUPPORTED: Reply.COMMAND_NOT_SUPPORTED,
}


class Socks5Server(ListeningSide):
    """One client's handshake: its request comes out, `reply` goes back.

    With `credentials` the client has to know them; without, it must offer to go without.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        super().__init__()
        self._credentials = credentials
        self._phase = Phase.GREETING

    def reply(self, code: Reply, bound: HostPort | None = None) -> None:
        """Answer the request: `SUCCEEDED` begins the relaying, all others end the connection.

        `bound` is our address on the far side, or where datagrams are to be sent. Raises
        `LocalProtocolError` unless a request waits for its answer.
        """
        message = messages.encode_reply(code, bound)
        self._answer(message, granted=code is Reply.SUCCEEDED)

    def accept(self, bound: HostPort | None = None) -> None:
        """Answer SUCCEEDED; as `reply`."""
        self.reply(Reply.SUCCEEDED, bound)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with the code that comes nearest to `refusal`; as `reply`."""
        self.reply(_REPLIES.get(refusal, Reply.GENERAL_FAILURE))

    def refuse_command(self) -> None:
        """Answer COMMAND NOT SUPPORTED; as `reply`."""
        self.reply(Reply.COMMAND_NOT_SUPPORTED)

    def _read_event(self) -> ServerEvent:
        try:
            if self._phase is Phase.GREETING:
                self._read_greeting()
            if self._phase is Phase.CREDENTIALS:
                self._read_credentials()
            return self._read_request()
        except Incomplete:
            return NEED_DATA
        except MessageError as error:
            if error.reply is not None:
                self._send(messages.encode_reply(error.reply))
            return Failed(str(error))

    def _read_greeting(self) -> None:
        offered = self._decode(messages.decode_greeting)
        wanted = Method.NO_AUTHENTICATION_REQUIRED
        if self._credentials is not None:
            wanted = Method.USERNAME_PASSWORD
        if wanted not in offered:
            self._send(messages.encode_choice(Method.NO_ACCEPTABLE_METHODS))
            raise MessageError("no acceptable authentication method")
        self._send(messages.encode_choice(wanted))
        self._phase = _PHASE_AFTER[wanted]

    def _read_credentials(self) -> None:
        assert self._credentials is not None  # no other choice leads to this phase
        username, password = self._decode(messages.decode_credentials)
        accepted = self._credentials.matches(username, password)
        self._send(messages.encode_status(accepted=accepted))
        if not accepted:
            raise MessageError("wrong user name or password")
        self._phase = Phase.REQUEST

    def _read_request(self) -> ServerEvent:
        request = self._decode(messages.decode_request)
        match request.command:
            case Command.CONNECT:
                return ConnectRequest(request.destination)
            case Command.UDP_ASSOCIATE:
                return UdpAssociateRequest(request.destination)
            case _:
                raise MessageError("command not supported", Reply.COMMAND_NOT_SUPPORTED)
