"""A lean channel and a bare socket, relayed to each other without a task, a stream or a copy.

What comes from the socket is received into the hub's scratch buffer and sealed from there; what
comes from the channel is sent out of the buffer in which it was opened. Only what a slow socket
does not take is kept, and that is bounded by the channel's window.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from wraith.dialing.base import Attempt, SpliceOwner
from wraith.errors import Refusal
from wraith.protocol.ssh_reason import encode_refusal
from wraith.ssh.lean_channel import LeanChannel
from wraith.ssh.packet_writer import DONT_WAIT
from wraith.streams.hub import READ, WRITE, Hub, watch
from wraith.streams.relay import LINGER_ZERO
from wraith.values.address import Destination

if TYPE_CHECKING:
    from wraith.ssh.fast_connection import FastConnection

MOST_PIECES = 32
"""More pieces than this are joined before they are sent: each costs more than its copying."""


class SocketChannel(LeanChannel):
    """See the module; `owner` is told how the opening ends, where we are the ones to ask."""

    __slots__ = (
        "_attempt",
        "_early",
        "_early_end",
        "_events",
        "_fd",
        "_hub",
        "_owner",
        "_paused",
        "_sock",
        "_unsent",
    )

    def __init__(self, connection: FastConnection, owner: SpliceOwner | None = None) -> None:
        super().__init__(connection)
        self._hub: Hub = connection.hub
        self._owner = owner
        self._sock: socket.socket | None = None
        self._fd = -1
        self._events = 0
        self._paused = False
        self._early: bytearray | None = None
        self._early_end = False
        self._unsent: bytearray | None = None
        self._attempt: Attempt | None = None

    # Opening, from the peer's side

    def process_open(
        self, peer: int, window: int, max_packet: int, destination: Destination
    ) -> None:
        """The peer asks for the channel: find its socket first."""
        self.note_peer(peer, window, max_packet)
        assert self.connection is not None
        attempt = self.connection.connect_channel(destination, self)
        if self._fd < 0:
            self._attempt = attempt

    def connected(self, sock: socket.socket) -> None:
        """As `Outcome.connected`."""
        self._attempt = None
        if self.connection is None:
            sock.close()
            return
        self.confirm()
        self.relay(sock)

    def failed(self, reason: Refusal) -> None:
        """As `Outcome.failed`."""
        self._attempt = None
        if self.connection is not None:
            self.connection.send_channel_open_failure(self.peer, *encode_refusal(reason), "")
            self.leave()

    # Opening, from our side

    def opened(self) -> None:
        """As `LeanChannel.opened`."""
        assert self.connection is not None
        self.connection.unanswered.discard(self)
        owner, self._owner = self._owner, None
        if owner is None:  # abandoned meanwhile
            self.abandon()
        else:
            owner.spliced(self)

    def process_open_failure(self, code: int, reason: str, lang: str) -> None:
        """As `LeanChannel.process_open_failure`."""
        if self.connection is not None:
            self.connection.unanswered.discard(self)
        super().process_open_failure(code, reason, lang)

    def refused(self, reason: Refusal) -> None:
        """As `LeanChannel.refused`."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.not_spliced(reason)

    def too_late(self) -> None:
        """The peer never answered, as `Late.too_late`."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.not_spliced(Refusal.TIMED_OUT)

    def abandon(self) -> None:
        """Nobody wants the channel any more; it is closed as soon as that is possible."""
        self._owner = None
        if self.is_open:
            self._break()

    def relay(self, sock: socket.socket, early: bytes = b"", *, ended: bool = False) -> None:
        """Join a non-blocking socket to the open channel, and own it from now on.

        `early` was received from it already, and `ended` says whether its end was, too.
        """
        self._sock = sock
        self._fd = sock.fileno()
        if early:
            self._early, self._early_end = bytearray(early), ended
            self._send_early()
        elif ended:
            self._socket_ended()
        else:
            self._begin_reading()

    def _begin_reading(self) -> None:
        try:
            self._expect(READ | self._events)
        except OSError:  # the system watches no more descriptors for us
            self._break()

    def _send_early(self) -> None:
        """What came from the socket before the channel was open goes before all else."""
        early, writer = self._early, self.writer
        assert early is not None
        while early and writer.ready and self.send_window > 0:
            size = min(len(early), self.send_max, self.send_window)
            writer.inbox[:size] = early[:size]
            del early[:size]
            self.send_window -= size
            writer.data(self.peer, size)
        if early:
            self._paused = True
            if not writer.ready:
                writer.waiting[self] = None
            return
        self._early = None
        self._paused = False
        if self._early_end:
            self._socket_ended()
        else:
            self._begin_reading()

    # Socket events

    def _expect(self, events: int) -> None:
        if events != self._events:  # asked often, and seldom so
            self._events = watch(self._hub, self._fd, self._ready, self._events, events)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._drain()
        if events & ~WRITE:
            if self._events & READ:
                self._read()
            elif not events & WRITE and self._sock is not None:
                self._break()

    def _read(self) -> None:
        writer = self.writer
        if not writer.ready:
            self._pause()
            writer.waiting[self] = None
            return
        window = self.send_window
        if window <= 0:
            self._pause()
            return
        most = self.send_max
        room = min(window, self.read_max)
        assert self._sock is not None
        try:
            count = self._sock.recv_into(writer.inbox, room, DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._break()
            return
        if not count:
            self._socket_ended()
            return
        self.send_window = window - count
        if count <= most:
            writer.data(self.peer, count)
        else:
            self._send_in_pieces(count, most)

    def _send_in_pieces(self, count: int, most: int) -> None:
        """One read, several packets: the peer takes smaller ones than we read."""
        offset = 0
        while offset < count:
            size = min(most, count - offset)
            self.writer.data_slice(offset, self.peer, size)
            offset += size

    def _pause(self) -> None:
        self._paused = True
        self._expect(self._events & ~READ)

    def resume(self) -> None:
        """As `LeanChannel.resume`."""
        if self._paused and self._sock is not None and self.send_window > 0 and not self.sent_eof:
            if self._early is not None:
                self._send_early()
                return
            self._paused = False
            self._expect(self._events | READ)

    def _socket_ended(self) -> None:
        self._paused = False
        self._expect(self._events & ~READ)
        self.send_end()
        self._finish()

    # Channel events

    def deliver(self) -> None:
        """As `LeanChannel.deliver`."""
        pieces, sock = self.pending, self._sock
        self.pending = None
        if pieces is None or sock is None:
            return
        if self._unsent is not None:
            self._keep(pieces)
            return
        size = 0
        for piece in pieces:
            size += len(piece)
        try:
            if len(pieces) == 1:
                sent = sock.send(pieces[0], DONT_WAIT)
            elif len(pieces) <= MOST_PIECES:
                sent = sock.sendmsg(pieces, (), DONT_WAIT)
            else:
                pieces = [memoryview(b"".join(pieces))]
                sent = sock.send(pieces[0], DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._break()
            return
        if sent < size:
            self._keep(_after(pieces, sent))
            self._expect(self._events | WRITE)
        self.consumed(sent)

    def _keep(self, pieces: list[memoryview]) -> None:
        # One piece of memory, so that a million tiny pieces cost no more than one large one.
        if self._unsent is None:
            self._unsent = bytearray()
        for piece in pieces:
            self._unsent += piece

    def _drain(self) -> None:
        unsent, sock = self._unsent, self._sock
        if unsent is None or sock is None:
            self._expect(self._events & ~WRITE)
            return
        try:
            sent = sock.send(unsent, DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._break()
            return
        del unsent[:sent]
        if not unsent:
            self._unsent = None
            self._expect(self._events & ~WRITE)
        self.consumed(sent)
        if self._unsent is None:
            if self.received_eof:
                self._shut()
            self._finish()

    def peer_ended(self) -> None:
        """As `LeanChannel.peer_ended`."""
        if self._sock is not None and self._unsent is None:
            if not self.sent_eof:  # else the socket is closed at once, which says the same
                self._shut()
            self._finish()

    def _shut(self) -> None:
        if self._sock is not None and not self.received_close:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def peer_closed(self) -> None:
        """As `LeanChannel.peer_closed`."""
        if not self.received_eof:
            self._unsent = None
            self._sock_close(reset=True)
        elif self._unsent is None:
            self._sock_close(reset=False)
        else:
            self._expect(WRITE)  # its last bytes are still to be taken
        self.send_close()
        if self._sock is None:
            self.leave()

    def connection_ended(self) -> None:
        """As `LeanChannel.connection_ended`."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.not_spliced(None)
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        self._sock_close(reset=True)

    # Ending

    def _finish(self) -> None:
        """End what has ended on both sides, once the last byte has gone."""
        if self._unsent is not None:
            return
        if self.received_close:
            self._sock_close(reset=False)
            self.leave()
        elif self.sent_eof and self.received_eof:
            self.send_close()
            self._sock_close(reset=False)

    def _break(self) -> None:
        """The socket broke, or was not wanted: the peer sees the channel cut short."""
        self._unsent = self._early = None
        self._sock_close(reset=True)
        self.send_close()
        if self.received_close:
            self.leave()

    def _sock_close(self, *, reset: bool) -> None:
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if self._events:
            self._hub.remove(self._fd)
            self._events = 0
        if reset and sock.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        sock.close()


def _after(pieces: list[memoryview], count: int) -> list[memoryview]:
    """The pieces without their first `count` bytes."""
    left = []
    for piece in pieces:
        if count >= len(piece):
            count -= len(piece)
        else:
            left.append(piece[count:])
            count = 0
    return left
