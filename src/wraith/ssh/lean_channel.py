"""An SSH channel in as few moving parts as it can have (RFC 4254 section 5).

Numbers, windows and the two ends of each direction stand here; what the data is for stands in the
subclasses: a bare socket, or a stream with a protocol. The SSH library keeps these objects in its
table of channels and calls them as it would call its own, so the same channel works when its
messages take the ordinary path.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

from asyncssh.misc import ProtocolError
from asyncssh.packet import SSHPacket

from wraith.errors import Refusal
from wraith.protocol.ssh_reason import decode_refusal
from wraith.ssh.packet_writer import MAX_PACKET

if TYPE_CHECKING:
    from wraith.ssh.fast_connection import FastConnection
    from wraith.ssh.packet_writer import PacketWriter
    from wraith.streams.tally import Tally

OPEN, OPEN_CONFIRMATION, OPEN_FAILURE = 90, 91, 92
WINDOW_ADJUST, DATA, EXTENDED_DATA, EOF, CLOSE = 93, 94, 95, 96, 97
REQUEST, SUCCESS, FAILURE = 98, 99, 100

MAX_WINDOW = 0xFFFFFFFF

MOST_PACKETS_A_READ = 64
"""A peer that takes only tiny packets must not have us make thousands of them in one go."""

_pack_adjust = struct.Struct(">BII").pack
_pack_confirmation = struct.Struct(">BIIII").pack
_pack_open = struct.Struct(">III").pack


class LeanChannel:
    """What all lean channels share; the states are four flags, two for each direction."""

    __slots__ = (
        "_consumed_since",
        "_granted_in",
        "_granted_out",
        "connection",
        "is_open",
        "number",
        "peer",
        "pending",
        "read_max",
        "received_close",
        "received_eof",
        "send_max",
        "send_window",
        "sent_close",
        "sent_eof",
        "tally",
        "unacked",
        "window",
        "window_size",
        "writer",
    )

    def __init__(self, connection: FastConnection) -> None:
        self.connection: FastConnection | None = connection
        self.writer: PacketWriter = connection.writer
        self.window_size = connection.windows.grant()
        self.window = 0  # nothing may come before the channel is open
        try:
            self.number = connection.add_channel(self)
        except BaseException:
            connection.windows.release(self.window_size)
            raise
        self.peer = -1
        self.send_window = self.send_max = self.read_max = 0
        self.unacked = self._granted_in = self._granted_out = 0
        self.tally: Tally | None = None
        self._consumed_since = 0.0
        self.pending: list[memoryview] | None = None
        self.is_open = False
        self.received_eof = self.received_close = False
        self.sent_eof = self.sent_close = False

    def __repr__(self) -> str:
        state = "open" if self.is_open else "opening"
        return f"<{type(self).__name__} {'gone' if self.connection is None else state}>"

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes sent and bytes received, as `Carrier.carried`.

        What was granted and what is left of it tell both, and only grants have to be counted.
        """
        return self._granted_out - self.send_window, self._granted_in - self.window

    # What the subclasses do

    def opened(self) -> None:
        """The peer has confirmed the channel."""
        raise NotImplementedError

    def refused(self, reason: Refusal) -> None:
        """The peer has refused the channel; it is gone."""
        raise NotImplementedError

    def deliver(self) -> None:
        """Take the pieces in `pending`, which are valid only until this returns."""
        raise NotImplementedError

    def peer_ended(self) -> None:
        """The peer will send no more data; what came before has been delivered."""
        raise NotImplementedError

    def peer_closed(self) -> None:
        """The peer has closed the channel; `received_eof` says whether it was cut short."""
        raise NotImplementedError

    def connection_ended(self) -> None:
        """The session is over."""
        raise NotImplementedError

    def resume(self) -> None:
        """Data may be sent again: the peer's window, or the link, has room."""
        raise NotImplementedError

    # Opening

    def send_open(self, kind: bytes, *arguments: bytes) -> None:
        """Ask the peer to open the channel (RFC 4254 section 5.1)."""
        assert self.connection is not None
        numbers = _pack_open(self.number, self.window_size, self.connection.receive_max)
        message = b"".join((bytes((OPEN,)), ssh_string(kind), numbers, *arguments))
        self._send(message)

    def note_peer(self, peer: int, window: int, max_packet: int) -> None:
        """Note the peer's number for the channel, and what it is ready to receive."""
        self.peer = peer
        self.send_window = self._granted_out = window
        assert self.connection is not None
        self.send_max = min(max_packet, self.connection.send_max)
        self.read_max = min(MAX_PACKET, MOST_PACKETS_A_READ * self.send_max)

    def confirm(self) -> None:
        """Tell the peer that the channel is open."""
        assert self.connection is not None
        self.is_open = True
        self.window = self._granted_in = self.window_size
        receive_max = self.connection.receive_max
        self._send(
            _pack_confirmation(OPEN_CONFIRMATION, self.peer, self.number, self.window, receive_max)
        )

    def _send(self, message: bytes) -> None:
        connection = self.connection
        if connection is None:
            return
        if self.writer.kex_done:
            self.writer.message(message)
        else:
            connection.send_packet(message[0], message[1:])

    def _send_control(self, kind: int) -> None:
        if self.connection is None:
            return
        if self.writer.kex_done:
            self.writer.control(kind, self.peer)
        else:
            self.connection.send_packet(kind, self.peer.to_bytes(4, "big"))

    # Sending

    def send_end(self) -> None:
        """Send no more data; once."""
        if not self.sent_eof and not self.sent_close and self.is_open:
            self.sent_eof = True
            self._send_control(EOF)

    def send_close(self) -> None:
        """Close our side; once. Without an end before it the peer sees the channel cut short."""
        if not self.sent_close and self.is_open:
            self.sent_close = True
            self._send_control(CLOSE)

    # Receiving

    def consumed(self, count: int) -> None:
        """So many bytes have been handed on: let the peer send as many more, now or soon."""
        if not self.unacked:
            self._consumed_since = time.monotonic()
        self.unacked += count
        if self.unacked * 2 < self.window_size or self.received_eof or self.sent_close:
            return
        assert self.connection is not None
        adjust = self.unacked + self._growth()
        self.unacked = 0
        self.window += adjust
        self._granted_in += adjust
        self._send(_pack_adjust(WINDOW_ADJUST, self.peer, adjust))

    def _growth(self) -> int:
        """How much wider the window should be, so that it does not slow a long, fat link down.

        A window must hold what is on its way during one round trip. The half of it that was
        consumed since the last adjustment, and the time that took, tell the bandwidth.
        """
        assert self.connection is not None
        took = time.monotonic() - self._consumed_since
        needed = 2.0 * self.connection.round_trip * self.unacked / max(took, 1e-6)
        if needed <= self.window_size:
            return 0
        growth = self.connection.windows.grow(self.window_size)
        self.window_size += growth
        return growth

    def deliver_pending(self) -> None:
        """Hand on at once what came before a message about the channel."""
        if self.pending is not None:
            self.deliver()

    # Gone

    def leave(self) -> None:
        """Leave the connection; both sides have closed, or the session is over."""
        connection, self.connection = self.connection, None
        if connection is not None:
            if self.tally is not None:
                self.tally.ended(self)
            self.writer.waiting.pop(self, None)
            self.pending = None
            connection.windows.release(self.window_size)
            connection.remove_channel(self.number)

    # As the library calls a channel

    @property
    def logger(self) -> Any:
        """Silence."""
        return self.connection.logger if self.connection is not None else None

    def log_received_packet(self, *_facts: Any) -> None:
        """Nothing is logged."""

    def log_sent_packet(self, *_facts: Any) -> None:
        """Nothing is logged."""

    def process_open_confirmation(
        self, peer: int, window: int, max_packet: int, _packet: SSHPacket | None
    ) -> None:
        """The peer has opened the channel that we asked for."""
        if self.is_open or self.peer >= 0:
            raise ProtocolError("Channel not being opened")
        self.note_peer(peer, window, max_packet)
        self.is_open = True
        self.window = self._granted_in = self.window_size
        self.opened()

    def process_open_failure(self, code: int, reason: str, lang: str) -> None:
        """The peer has refused the channel that we asked for."""
        if self.is_open or self.peer >= 0:
            raise ProtocolError("Channel not being opened")
        self.leave()
        self.refused(decode_refusal(code, reason))

    def close(self) -> None:
        """The session is about to say goodbye: what is still open is cut short by that."""

    def process_connection_close(self, _error: Exception | None) -> None:
        """The session is over."""
        self.connection_ended()
        self.leave()

    def process_packet(self, kind: int, _seq: int, packet: SSHPacket) -> bool:
        """Handle a message about this channel, its number already read."""
        if kind == WINDOW_ADJUST:
            self.widen(packet.get_uint32())
        elif kind == EOF:
            self.end_received()
        elif kind == CLOSE:
            self.close_received()
        elif kind == DATA:
            self._receive(packet.get_string())
        elif kind == EXTENDED_DATA:
            packet.get_uint32()
            self._discard(len(packet.get_string()))
        elif kind == REQUEST:
            packet.get_string()
            if packet.get_boolean():
                self._send_control(FAILURE)
        elif kind not in (SUCCESS, FAILURE):
            return False
        return True

    def _check_open(self) -> None:
        """A message about a channel is in order only between its confirmation and its end."""
        if not self.is_open or self.received_close:
            raise ProtocolError("Channel not open")

    def widen(self, count: int) -> None:
        """The peer takes so many bytes more."""
        self._check_open()
        was_empty = self.send_window <= 0
        count = min(count, MAX_WINDOW - self.send_window)
        self.send_window += count
        self._granted_out += count
        if was_empty:
            if self.writer.ready:
                self.resume()
            else:
                self.writer.waiting[self] = None

    def _receive(self, data: bytes) -> None:
        """Data by the ordinary path."""
        if len(data) > self.window or self.received_eof:
            raise ProtocolError("Channel data out of bounds")
        self.window -= len(data)
        if self.pending is None:
            self.pending = []
        self.pending.append(memoryview(data))
        self.deliver()

    def _discard(self, count: int) -> None:
        """Extended data, which no forwarded connection has: only its room is given back."""
        if count > self.window or self.received_eof:
            raise ProtocolError("Channel data out of bounds")
        self.window -= count
        self.consumed(count)

    def end_received(self) -> None:
        """The peer has said all."""
        self._check_open()
        if self.received_eof:
            return
        self.deliver_pending()
        self.received_eof = True
        self.peer_ended()

    def close_received(self) -> None:
        """The peer has closed its side."""
        self._check_open()
        self.deliver_pending()
        self.received_close = True
        self.peer_closed()


def ssh_string(data: bytes) -> bytes:
    """Bytes with their length before them (RFC 4251 section 5)."""
    return len(data).to_bytes(4, "big") + data
