"""The one port that a client listens on for programs of every kind.

The first byte tells the language, and each has a machine of its own:

    0x05       SOCKS5 (RFC 1928)
    0x04       SOCKS4 and SOCKS4a
    a letter   HTTP: a proxy request, the PAC file, or a browser that is lost
    others     a stranger, who is told nothing

Whoever drives a `LocalPortServer` need not know which one it is:

    read ──▶ receive_data ──▶ next_event ──▶ NEED_DATA: send data_to_send, read again
                                        ├──▶ ConnectRequest: dial, then accept or refuse
                                        ├──▶ UdpAssociateRequest: accept, or refuse_command
                                        ├──▶ PacRequest: send pac_file(…), close
                                        └──▶ Failed: send data_to_send, close

After `accept` what `data_to_send` gives goes to the program, `trailing_data` to the destination,
and then the two streams are joined.
"""

from __future__ import annotations

from wraith.errors import Refusal
from wraith.protocol.events import NEED_DATA, Failed, LocalProtocolError, ServerEvent
from wraith.protocol.http_proxy import HttpProxyServer
from wraith.protocol.listening_side import ListeningSide
from wraith.protocol.socks4 import VERSION as SOCKS4
from wraith.protocol.socks4 import Socks4Server
from wraith.protocol.socks5.messages import VERSION as SOCKS5
from wraith.protocol.socks5.server import Socks5Server
from wraith.values.address import HostPort
from wraith.values.credentials import Credentials


class LocalPortServer:
    """One program's handshake, in whichever language it speaks.

    With `credentials` every program must know them; SOCKS4, which has no password, is then
    rejected, as it is without `allow_socks4`.

    Reads are to be bounded by the caller, to 64 KiB or so each; between them no handshake keeps
    more than 16 KiB. There is no clock: the caller limits how long a handshake may take.
    """

    def __init__(
        self, credentials: Credentials | None = None, *, allow_socks4: bool = True
    ) -> None:
        self._credentials = credentials
        self._allow_socks4 = allow_socks4 and credentials is None
        self._machine: ListeningSide | None = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the program, cut in any way; after a failure they are dropped."""
        if self._machine is None and data:
            self._machine = self._machine_for(data[0])
        if self._machine is not None:
            self._machine.receive_data(data)

    def next_event(self) -> ServerEvent:
        """Return what the bytes so far mean; after a failure, that failure again.

        Nothing that a program sends raises anything here. `LocalProtocolError` means that its
        request was reported already, and that an answer or the relaying is next.
        """
        return NEED_DATA if self._machine is None else self._machine.next_event()

    def data_to_send(self) -> bytes:
        """Return what to send to the program now, perhaps nothing; each byte is told once."""
        return b"" if self._machine is None else self._machine.data_to_send()

    def trailing_data(self) -> bytes:
        """Return, once, what the destination is to receive first.

        That is what the program sent along with its request, and before it the rewritten head of
        a plain HTTP request. `LocalProtocolError` before there is one, and after a refusal.
        """
        return self._chosen().trailing_data()

    def accept(self, bound: HostPort | None = None) -> None:
        """Tell the program that its request is granted.

        `bound` is our address on the far side, if it is known, or where the program is to send
        its datagrams. Like the other answers, this raises `LocalProtocolError` unless a request
        waits for one.
        """
        self._chosen().accept(bound)

    def refuse(self, refusal: Refusal) -> None:
        """Tell the program why its request cannot be granted, as truly as its language lets us."""
        self._chosen().refuse(refusal)

    def refuse_command(self) -> None:
        """Tell the program that we cannot do what it asks, whatever the destination."""
        self._chosen().refuse_command()

    def _machine_for(self, first_byte: int) -> ListeningSide:
        if first_byte == SOCKS5:
            return Socks5Server(self._credentials)
        if first_byte == SOCKS4:
            return Socks4Server(allowed=self._allow_socks4)
        if chr(first_byte).isascii() and chr(first_byte).isalpha():
            return HttpProxyServer(self._credentials)
        return _Stranger()

    def _chosen(self) -> ListeningSide:
        if self._machine is None:
            raise LocalProtocolError("nothing was received yet")
        return self._machine

    def __repr__(self) -> str:
        return f"<LocalPortServer {self._machine or 'waiting for the first byte'}>"


class _Stranger(ListeningSide):
    """Speaks none of our languages, and so could not understand an answer."""

    def accept(self, bound: HostPort | None = None) -> None:
        self._answer(b"", granted=True)

    def refuse(self, refusal: Refusal) -> None:
        self._answer(b"", granted=False)

    def _read_event(self) -> ServerEvent:
        return Failed("no language that this port speaks")
