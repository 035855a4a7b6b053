"""A connection of the library's whose channel data takes the hot path.

The library keeps the handshake, authentication, key exchange and every rare message. What it would
do for each packet of channel data, in both directions, is done by `PacketReader`, `PacketWriter`
and the lean channels. The two paths share one output buffer, and one sequence number and one nonce
for each direction, handed over whenever the path changes.

Bytes come in either from a bare socket, which the connection takes over from its stream, or by
`data_received` from any other stream.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import asyncssh
from asyncssh.packet import PacketDecodeError

from wraith.dialing.base import Attempt, Outcome
from wraith.errors import Refusal
from wraith.protocol.ssh_reason import encode_refusal
from wraith.ssh.cipher import PACKET_CIPHERS, adopt
from wraith.ssh.connection import OPEN_TIMEOUT, ConnectionMixin
from wraith.ssh.lean_channel import OPEN as CHANNEL_OPEN
from wraith.ssh.lean_channel import OPEN_CONFIRMATION, OPEN_FAILURE, LeanChannel
from wraith.ssh.packet_reader import BrokenPacket, PacketReader, packet_of
from wraith.ssh.packet_writer import BACKLOG_LIMIT, DONT_WAIT, MAX_PACKET, PacketWriter
from wraith.ssh.socket_channel import SocketChannel
from wraith.ssh.stream_channel import StreamChannel
from wraith.streams.deadlines import Deadlines
from wraith.streams.direct import DirectReceiver, TakesAtOnce
from wraith.streams.hub import READ, WRITE, running_hub, watch
from wraith.streams.socket_stream import SocketStream
from wraith.values.address import Destination

IGNORE = 2
LAST_KEX_MESSAGE = 49
STOCK_MAX_PACKET = 32 * 1024
"""What other implementations are sent and asked for: the size that all of them take."""

CONFIRMATION_SIZE = 17
_confirmation = struct.Struct(">xIIII").unpack

INBOX_LIMIT = 1024 * 1024
"""Bytes that may wait while the library is busy with a handshake message."""

MOST_DEFERRED = 64 * 1024
"""Messages that may wait for a key exchange to end; a peer that never ends one is dropped."""

MOST_REQUESTS = 1024
"""Global requests that may wait for the answer to the first of them."""

BUSY, CHOKED = 1, 2
"""Why the peer is not read from: the library works on a message; the peer takes no answers."""

if TYPE_CHECKING:
    _Base = ConnectionMixin
else:
    _Base = object


class FastConnection(DirectReceiver, _Base):
    """Goes before `ConnectionMixin` in the bases of our connections."""

    def prepare(self, keepalive: float, budget: int, max_channels: int) -> None:
        """As `ConnectionMixin.prepare`."""
        super().prepare(keepalive, budget, max_channels)
        self.hub = running_hub()
        self.writer = PacketWriter(self, self.hub)
        self.reader = PacketReader(self, self._channels, self.hub)
        self.round_trip = 0.0
        """Seconds, as far as is known."""
        self.receive_max = self.send_max = STOCK_MAX_PACKET
        self._sock: socket.socket | None = None
        self._fd = -1
        self._events = 0
        self._stalled = 0
        self._settled_in = self._settled_out = 0
        self._lends = False
        self.unanswered: Deadlines[SocketChannel] = Deadlines(OPEN_TIMEOUT)
        """Channels that the peer has neither opened nor refused yet."""

    # The stream below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket from under the stream, if it is one of ours."""
        self._lends = isinstance(transport, TakesAtOnce)
        sock = transport.detach() if isinstance(transport, SocketStream) else None
        if sock is None:
            super().connection_made(transport)
            return
        self._sock = sock
        self._fd = sock.fileno()
        self.writer.use_socket(sock)
        super().connection_made(_BareSocket(sock))
        self._set_events(READ)

    def _set_events(self, events: int) -> None:
        if self._sock is not None and events != self._events:
            self._events = watch(self.hub, self._fd, self._ready, self._events, events)

    def expect(self, events: int) -> None:
        """Watch the socket for these events, as long as reading is not stalled."""
        self._set_events(events & ~READ if self._stalled else events)

    def write_to_stream(self, data: memoryview) -> None:
        """Send what the writer has collected, where there is no bare socket."""
        if self._transport is not None:
            self._transport.write(data if self._lends else bytes(data))
            if self._transport.get_write_buffer_size() > BACKLOG_LIMIT:
                self.choke()

    def stream_lost(self, error: OSError | None) -> None:
        """The socket has ended or broken."""
        self._unhook()
        self.connection_lost(error)

    def _unhook(self) -> None:
        """Nothing comes or goes any more."""
        self._set_events(0)
        self._sock = None
        self.writer.close()
        self.reader.close()
        self.unanswered.close()

    def _force_close(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self.writer.flush()
        super()._force_close(exc)
        self._unhook()

    def pause_writing(self) -> None:
        """The stream below is full."""
        self.writer.stream_full = True
        self.writer.hold()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The stream below has room."""
        self.writer.stream_full = False
        self.unchoke()
        self.writer.resume()
        super().resume_writing()

    # Bytes in

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self.writer.writable()
        if events & ~WRITE and not self._stalled and self._sock is not None:
            try:
                count = self._sock.recv_into(self.reader.space(), 0, DONT_WAIT)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.stream_lost(error)
                return
            if not count:
                self.stream_lost(None)
                return
            self.reader.received(count)
            self._heard()
            self._pump()

    def get_buffer(self) -> memoryview:
        """Where a stream that asks puts its bytes."""
        return self.reader.space()

    def buffer_updated(self, count: int) -> None:
        """It has put so many there."""
        if self._transport is None:
            return
        self.reader.received(count)
        self._heard()
        if not self._stalled:
            self._pump()

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Bytes from any other stream."""
        self._heard()
        rest = memoryview(data)
        while rest and self._transport is not None:
            space = self.reader.space()
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            self.reader.received(count)
            rest = rest[count:]
            if not self._stalled:
                self._pump()

    def _heard(self) -> None:
        if self._liveness is not None:
            self._liveness.heard(self._loop.time())

    def _pump(self) -> None:
        """Work off what has been received, packet by packet, on whichever path each takes."""
        try:
            while len(self.reader) and self._transport is not None:
                if self._hot():
                    packet = self.reader.work()
                    if packet is None:
                        return
                    self._feed(packet)
                elif self._busy():
                    # A stranger cannot fill our memory; in a handshake little is worth a wait.
                    if self._auth_complete or len(self.reader) >= INBOX_LIMIT:
                        self._stall(BUSY)
                    return
                else:
                    self._feed(self.reader.take(self._to_boundary()))
        except BrokenPacket as error:
            self._fail(asyncssh.ProtocolError(str(error)))
        except asyncssh.DisconnectError as error:
            self._fail(error)
        except Exception:
            self.internal_error()

    def _fail(self, error: asyncssh.DisconnectError) -> None:
        self._send_disconnect(error.code, error.reason, error.lang)
        self._force_close(error)

    def _hot(self) -> bool:
        """Whether the next packet may take the hot path; hands the cipher over when it may."""
        if not self._auth_complete or self._inpbuf or self._packet or self._busy():
            return False
        encryption: object = self._recv_encryption
        if encryption is not self.reader.cipher:
            adopted = self._recv_encryption = adopt(self._recv_encryption)
            if not isinstance(adopted, PACKET_CIPHERS):
                return False
            self.reader.cipher = adopted
            self.reader.seq = self._recv_seq
            self.reader.max_length = max(self._max_recv_pktlen, self.receive_max + 1024)
        self._auth_final = True
        return True

    def _busy(self) -> bool:
        """Whether the library is still busy with the last packet that it was given."""
        handler = getattr(self._recv_handler, "__func__", None)
        return handler is None  # it puts a lambda in the place of its own methods meanwhile

    def _to_boundary(self) -> int:
        """How many bytes to give the library, so that the hot path can begin at a packet."""
        if not self._auth_complete:
            return INBOX_LIMIT
        if self._packet:
            wanted = 4 + self._pktlen + self._recv_macsize - self._recv_blocksize
        else:
            wanted = self._recv_blocksize
        return max(1, wanted - len(self._inpbuf))

    def _feed(self, data: bytes) -> None:
        """Let the library handle these bytes its own way."""
        if self.reader.cipher is not None:
            self._recv_seq = self.reader.seq
        self._inpbuf += data
        while self._inpbuf and self._recv_handler():
            pass
        self.reader.seq = self._recv_seq
        if len(self._global_request_queue) > MOST_REQUESTS:
            raise asyncssh.ProtocolError("Too many global requests at once")

    def _recv_data(self) -> None:
        """The library goes on after it was busy: through our pump."""
        try:
            while self._inpbuf and self._recv_handler():
                pass
            self.reader.seq = self._recv_seq
        except asyncssh.DisconnectError as error:
            self._fail(error)
        except Exception:
            self.internal_error()

    def _finish_recv_packet(
        self, pkttype: int, seq: int, _task: Any = None, is_async: bool = False
    ) -> None:
        super()._finish_recv_packet(pkttype, seq, _task, is_async)
        self.reader.seq = self._recv_seq
        if is_async and self._transport is not None:
            self._go_on(BUSY)
            if len(self.reader):
                self._loop.call_soon(self._pump)

    def choke(self) -> None:
        """The peer does not read what we answer: read nothing from it until it does."""
        self._stall(CHOKED)

    def unchoke(self) -> None:
        """The peer reads again."""
        self._go_on(CHOKED)

    def _stall(self, why: int) -> None:
        """Read no more for this reason."""
        was, self._stalled = self._stalled, self._stalled | why
        if was:
            return
        if self._sock is not None:
            self._set_events(self._events & ~READ)
        elif self._transport is not None:
            self._transport.pause_reading()

    def _go_on(self, why: int) -> None:
        """This reason is gone; read on if no other is left."""
        was, self._stalled = self._stalled, self._stalled & ~why
        if not was or self._stalled:
            return
        if self._sock is not None:
            self._set_events(self._events | READ)
        elif self._transport is not None:
            self._transport.resume_reading()

    def channel_message(self, kind: int, seq: int, message: bytes) -> bool:
        """Handle an opened message about a channel; False when that ended the connection."""
        try:
            if (kind == OPEN_CONFIRMATION and self._confirmed(message)) or (
                kind == CHANNEL_OPEN and self.open_requested(message)
            ):
                return self._transport is not None
            packet = packet_of(message)
            if kind == CHANNEL_OPEN:
                self._process_channel_open(kind, seq, packet)
            elif kind == OPEN_CONFIRMATION:
                self._process_channel_open_confirmation(kind, seq, packet)
            elif kind == OPEN_FAILURE:
                self._process_channel_open_failure(kind, seq, packet)
            else:
                channel = self._channels.get(packet.get_uint32())
                if channel is None:
                    raise asyncssh.ProtocolError("Invalid channel number")
                channel.process_packet(kind, seq, packet)
        except PacketDecodeError as error:
            raise BrokenPacket(str(error)) from None
        return self._transport is not None

    def _confirmed(self, message: bytes) -> bool:
        """Handle the confirmation of a lean channel; False leaves it to the library."""
        if len(message) != CONFIRMATION_SIZE:
            return False
        number, peer, window, max_packet = _confirmation(message)
        channel: object = self._channels.get(number)
        if not max_packet or not isinstance(channel, LeanChannel):
            return False
        channel.process_open_confirmation(peer, window, max_packet, None)
        return True

    def open_requested(self, message: bytes) -> bool:
        """Handle the request for a channel; False leaves it to the library."""
        return False

    # Bytes out

    def _send(self, data: bytes) -> None:
        """A packet that the library has sealed."""
        if self._transport is not None:
            self.writer.raw(data)

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """A message of the library's: sealed by the writer once the handshake is over."""
        writer = self.writer
        self._adopt_send_cipher()
        if writer.cipher is not None:
            if pkttype == IGNORE:
                return  # padding against a weakness of CBC ciphers, which we do not have
            if pkttype > LAST_KEX_MESSAGE and self._kex_complete and self._auth_complete:
                writer.kex_done = True
                writer.message(b"".join((bytes((pkttype,)), *args)))
                return
        self._send_seq = writer.seq
        super().send_packet(pkttype, *args, handler=handler)
        writer.seq = self._send_seq
        if len(self._deferred_packets) > MOST_DEFERRED:
            self._deferred_packets.clear()
            self._fail(asyncssh.ProtocolError("The key exchange does not end"))

    def _adopt_send_cipher(self) -> None:
        current: object = self._send_encryption
        if current is self.writer.cipher:
            return
        encryption = self._send_encryption = adopt(self._send_encryption)
        self.writer.use_cipher(encryption if isinstance(encryption, PACKET_CIPHERS) else None)

    def _send_kexinit(self) -> None:
        """A key exchange begins: no channel data until it is over (RFC 4253 section 7.1)."""
        self.writer.kex_done = False
        self.writer.hold()
        self._settle_traffic()
        super()._send_kexinit()

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        """Our side of the key exchange is over."""
        super().send_newkeys(k, h)
        self._update_writer()

    def _send_deferred_packets(self) -> None:
        """Called by the library when messages may flow again, and after authentication."""
        super()._send_deferred_packets()
        self._update_writer()

    def _update_writer(self) -> None:
        self._adopt_send_cipher()
        hot = self.writer.cipher is not None
        self.writer.kex_done = hot and self._kex_complete and self._auth_complete
        self._learn_sizes()
        self.writer.resume()

    def _learn_sizes(self) -> None:
        """Between two Wraiths packets may be larger than elsewhere."""
        theirs = self._client_version if self.is_server() else self._server_version
        if b"Wraith_" in theirs:
            self.receive_max = self.send_max = MAX_PACKET

    def count_traffic(self) -> None:
        """Count what both directions carried, and begin a key exchange when it is time."""
        self._rekey_bytes_sent += self.writer.sealed + self.reader.opened
        self._settle_traffic()
        if not self.writer.kex_done:
            return
        late = bool(self._rekey_seconds) and time.monotonic() >= self._rekey_time
        if late or self._rekey_bytes_sent >= self._rekey_bytes:
            self._send_kexinit()
            self._kexinit_sent = True

    def _settle_traffic(self) -> None:
        self._settled_in += self.reader.opened
        self._settled_out += self.writer.sealed
        self.writer.sealed = self.reader.opened = 0

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent on the hot path."""
        return self._settled_in + self.reader.opened, self._settled_out + self.writer.sealed

    # Channels

    def create_tcp_channel(self, *_args: Any, **_kwargs: Any) -> Any:
        """A lean channel in place of the library's."""
        return StreamChannel(self)

    def create_unix_channel(self, *_args: Any, **_kwargs: Any) -> Any:
        """A lean channel in place of the library's."""
        return StreamChannel(self)

    def detach_x11_listener(self, chan: Any) -> None:
        """The library would look for an X11 listener of a channel; ours have none."""

    def connect_channel(self, destination: Destination, outcome: Outcome) -> Attempt | None:
        """Reach a destination that the peer asks for; only servers do."""
        raise asyncssh.ChannelOpenError(*encode_refusal(Refusal.PROHIBITED))

    def watch(self, on_silence: Callable[[], None]) -> None:
        """As `ConnectionMixin.watch`; a first probe tells how long the way is."""
        super().watch(on_silence)
        self.create_task(self.probe())

    async def probe(self) -> None:
        """As `ConnectionMixin.probe`; the time until the answer is the round trip."""
        began = time.monotonic()
        await super().probe()
        took = time.monotonic() - began
        self.round_trip = min(self.round_trip, took) if self.round_trip else took


class _BareSocket(asyncio.Transport):
    """Stands where the library expects a stream, for a socket that the connection reads itself."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        try:
            if name == "socket":
                return self._sock
            if name == "sockname":
                return self._sock.getsockname()
            if name == "peername":
                return self._sock.getpeername()
        except OSError:
            pass
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError("everything is written through the PacketWriter")

    def is_closing(self) -> bool:
        return self._sock.fileno() < 0

    def close(self) -> None:
        self._sock.close()

    def abort(self) -> None:
        self._sock.close()
