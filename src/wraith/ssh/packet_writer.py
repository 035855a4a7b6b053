"""The hot way out: channel data sealed straight into one output buffer, sent once a turn.

    received bytes                      sealed packets
    ──────────────► hub.scratch ──────► output buffer ──────► socket, or any other stream
      recv_into       [14:]      seal      (borrowed)    flush

The bytes of a channel lie in the scratch buffer behind room for the packet's head, so that header,
data and padding are sealed in one piece without ever being put together. Whatever the library still
sends (key exchange, requests) goes through `raw` into the same buffer, so the order is kept.
"""

from __future__ import annotations

import socket
import struct
import weakref
from typing import TYPE_CHECKING, Protocol

from wraith.ssh.cipher import COUNTER_MASK, TAG, GcmCipher, PacketCipher, pack_nonce
from wraith.streams.hub import READ, WRITE, Hub, borrow, borrow_for_output, give_back

if TYPE_CHECKING:
    from wraith.ssh.fast_connection import FastConnection

MAX_PACKET = 256 * 1024 - 46
"""The largest piece of channel data in one packet, between two Wraiths: sealed, it fills sixteen
records of TLS and does not begin a seventeenth."""

FLUSH_AT = 128 * 1024
"""Send before the turn ends once this much is waiting: more would only cost cache."""

BACKLOG_LIMIT = 4 * 1024 * 1024
"""A peer that leaves this much unread is not read from either, until it reads again: else whoever
asks and never listens to the answers would fill our memory with them."""

COUNT_AT = 64 * 1024
"""Bytes after which the traffic is counted for the next key exchange."""

HEAD = 14
"""Bytes before the data: length (4), padding length, type, channel, data length (4)."""

SMALL = 2048
"""Up to this size the padding of a packet is looked up instead of worked out."""

DATA = 94  # SSH_MSG_CHANNEL_DATA

DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)

_put_head = struct.Struct(">IBBII").pack_into
_put_control = struct.Struct(">IBBI10x").pack_into  # a GCM packet with ten bytes of padding
_pack_control = struct.Struct(">BI").pack
_put_length = struct.Struct(">I").pack_into
_pack_length = struct.Struct(">I").pack
_ZEROS = tuple(bytes(n) for n in range(32))


class Waiting(Protocol):
    """A channel that has data and may not send it now."""

    def resume(self) -> None:
        """It may send again."""
        ...


class _Shape:
    """How a small GCM packet with so many bytes of data is laid out in the scratch buffer."""

    __slots__ = ("body", "length", "padding", "padding_at", "zeros")

    def __init__(self, scratch: memoryview, size: int) -> None:
        self.padding = padding_for(10 + size, GcmCipher.block)
        self.length = 10 + size + self.padding
        self.body = scratch[4 : 4 + self.length]
        self.padding_at = scratch[HEAD + size : HEAD + size + self.padding]
        self.zeros = _ZEROS[self.padding]


_shapes: weakref.WeakKeyDictionary[Hub, list[_Shape | None]] = weakref.WeakKeyDictionary()


def _shapes_of(hub: Hub) -> list[_Shape | None]:
    """The shapes of a hub's scratch buffer, shared by all who seal from it."""
    shapes = _shapes.get(hub)
    if shapes is None:
        shapes = _shapes[hub] = [None] * (SMALL + 1)
    return shapes


def padding_for(size: int, block: int) -> int:
    """At least four bytes of padding, up to the next whole block (RFC 4253 section 6)."""
    padding = -size % block
    return padding if padding >= 4 else padding + block


class PacketWriter:
    """The sending half of one connection.

    With a bare socket it sends by itself; else it writes to the connection's stream.
    """

    __slots__ = (
        "_connection",
        "_control",
        "_dirty",
        "_end",
        "_gcm",
        "_head",
        "_hub",
        "_out",
        "_scratch",
        "_shapes",
        "_sock",
        "_start",
        "blocked",
        "cipher",
        "closed",
        "inbox",
        "kex_done",
        "ready",
        "sealed",
        "seq",
        "stream_full",
        "waiting",
    )

    def __init__(self, connection: FastConnection, hub: Hub) -> None:
        self._connection = connection
        self._hub = hub
        self._sock: socket.socket | None = None
        self._scratch = hub.scratch
        self._head = hub.scratch[:4]
        self._control = hub.scratch[4:20]
        self.inbox = hub.scratch[HEAD:]
        """Where a channel's bytes are received, to be sent by `data`."""
        self._shapes = _shapes_of(hub)
        self._out: memoryview | None = None
        self._start = self._end = 0
        self._dirty = False
        self._gcm: GcmCipher | None = None
        self.cipher: PacketCipher | None = None
        self.seq = 0
        self.sealed = 0
        """Bytes sealed and not yet counted for the next key exchange."""
        self.kex_done = False
        """Whether messages may be sealed here: no key exchange is under way."""
        self.blocked = False
        """Whether the socket or the stream takes no more for now."""
        self.ready = False
        """Whether channels may send data now: all of the above."""
        self.stream_full = False
        self.closed = False
        self.waiting: dict[Waiting, None] = {}

    def use_socket(self, sock: socket.socket) -> None:
        """Send on a bare socket from now on."""
        self._sock = sock

    def use_cipher(self, cipher: PacketCipher | None) -> None:
        """Seal with another key from now on."""
        self.cipher = cipher
        self._gcm = cipher if isinstance(cipher, GcmCipher) else None

    # Sealing

    def data(self, channel: int, size: int) -> None:
        """Send `size` bytes that lie in the scratch buffer from `HEAD` on, as channel data."""
        gcm = self._gcm
        if gcm is not None and size <= SMALL:
            # The inner loop of small messages: everything below is flat on purpose.
            shape = self._shapes[size]
            if shape is None:
                shape = self._shapes[size] = _Shape(self._scratch, size)
            shape.padding_at[:] = shape.zeros  # what lay there is another channel's data
            length = shape.length
            _put_head(self._scratch, 0, length, shape.padding, DATA, channel, size)
            out = self._out
            start = self._end
            end = start + length + 4 + TAG
            if out is None or end > len(out) or not self._dirty:
                start = self._room(length + 4 + TAG)
                end = start + length + 4 + TAG
                out = self._out
            counter = gcm.counter
            nonce = pack_nonce(gcm.fixed, counter)
            gcm.encrypt_into(nonce, shape.body, self._head, out[start + 4 : end])  # type: ignore[index]
            gcm.counter = (counter + 1) & COUNTER_MASK
            _put_length(out, start, length)  # type: ignore[arg-type]
            self._end = end
            self.seq = (self.seq + 1) & 0xFFFFFFFF
            self.sealed += length
        else:
            self._data_at(0, channel, size)

    def data_slice(self, offset: int, channel: int, size: int) -> None:
        """Like `data`, for a piece that begins `offset` bytes after `HEAD`.

        Its head and padding are written over the neighbouring pieces: what comes before has been
        sent already, what comes after is put back.
        """
        end = HEAD + offset + size
        behind = bytes(self._scratch[end : end + 32])
        self._data_at(offset, channel, size)
        self._scratch[end : end + 32] = behind

    def _data_at(self, offset: int, channel: int, size: int) -> None:
        cipher, scratch = self.cipher, self._scratch
        assert cipher is not None
        padding = padding_for(10 + size, cipher.block)
        length = 10 + size + padding
        _put_head(scratch, offset, length, padding, DATA, channel, size)
        end = offset + HEAD + size
        scratch[end : end + padding] = _ZEROS[padding]
        self._seal(bytes(scratch[offset : offset + 4]), scratch[offset + 4 : end + padding])
        if self._end - self._start >= FLUSH_AT and not self.blocked:
            self._send()

    def control(self, kind: int, channel: int) -> None:
        """Send one of the short messages about a channel, of which there are two for each."""
        gcm = self._gcm
        if gcm is None:
            self.message(_pack_control(kind, channel))
            return
        start = self._room(36)
        assert self._out is not None
        _put_control(self._scratch, 0, 16, 10, kind, channel)
        counter = gcm.counter
        nonce = pack_nonce(gcm.fixed, counter)
        gcm.encrypt_into(nonce, self._control, self._head, self._out[start + 4 : start + 36])
        gcm.counter = (counter + 1) & COUNTER_MASK
        _put_length(self._out, start, 16)
        self._end = start + 36
        self.seq = (self.seq + 1) & 0xFFFFFFFF
        self.sealed += 16

    def message(self, payload: bytes) -> None:
        """Send a message of any type; `payload` begins with the type."""
        cipher = self.cipher
        assert cipher is not None
        padding = padding_for(1 + len(payload), cipher.block)
        body = b"".join((bytes((padding,)), payload, _ZEROS[padding]))
        self._seal(_pack_length(len(body)), memoryview(body))

    def _seal(self, header: bytes, body: memoryview) -> None:
        size = 4 + len(body) + TAG
        start = self._room(size)
        assert self._out is not None
        assert self.cipher is not None
        self.cipher.seal(self.seq, header, body, self._out[start : start + size])
        self._end = start + size
        self.seq = (self.seq + 1) & 0xFFFFFFFF
        self.sealed += len(body)

    def raw(self, data: bytes) -> None:
        """Send bytes as they are: a packet that the library has sealed by itself."""
        if self.closed:
            return
        start = self._room(len(data))
        assert self._out is not None
        self._out[start : start + len(data)] = data
        self._end = start + len(data)

    def _room(self, size: int) -> int:
        """Where the next `size` bytes go; the output is flushed at the end of the turn."""
        out = self._out
        if out is None:
            out = self._out = borrow_for_output(self._hub, size)
            self._start = self._end = 0
        if self._end + size > len(out):
            self._make_room(size)
        if not self._dirty:
            self._dirty = True
            self._hub.dirty.append(self)
        return self._end

    def _make_room(self, size: int) -> None:
        if not self.blocked:
            self._send()
            if self._out is None:
                self._out = borrow(self._hub)
                self._start = self._end = 0
        assert self._out is not None
        if self._end + size <= len(self._out):
            return
        waiting = self._out[self._start : self._end]
        if len(waiting) > BACKLOG_LIMIT:
            self._connection.choke()
        larger = memoryview(bytearray(max(2 * len(self._out), len(waiting) + size)))
        larger[: len(waiting)] = waiting
        give_back(self._hub, self._out)
        self._out, self._start, self._end = larger, 0, len(waiting)

    # Sending

    def flush(self) -> None:
        """Send what has been sealed in this turn, and count it for the next key exchange."""
        self._dirty = False
        if self._out is not None and not self.blocked:
            self._send()
        if self.sealed >= COUNT_AT and not self.closed:
            self._connection.count_traffic()

    def _send(self) -> None:
        assert self._out is not None
        waiting = self._out[self._start : self._end]
        if self.closed:
            self._release()
            return
        if self._sock is None:
            self._connection.write_to_stream(waiting)
            self._release()
            return
        try:
            sent = self._sock.send(waiting, DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._release()
            self._connection.stream_lost(error)
            return
        if sent == len(waiting):
            self._release()
        else:
            self._start += sent
            if not self.blocked:
                self.blocked = True
                self.ready = False
                self._connection.expect(READ | WRITE)

    def _release(self) -> None:
        if self._out is not None:
            give_back(self._hub, self._out)
            self._out = None
        self._start = self._end = 0

    def writable(self) -> None:
        """The socket takes bytes again."""
        if not self.blocked or self._out is None:
            return
        self.blocked = False
        self._send()
        if not self.blocked and not self.closed:
            self._connection.expect(READ)
            self._connection.unchoke()
            self.resume()

    @property
    def unsent(self) -> int:
        """Bytes that wait here."""
        return self._end - self._start

    # Who may send

    def resume(self) -> None:
        """Work out anew whether channels may send, and wake those that wait for it."""
        self.ready = self.kex_done and not self.blocked and not self.stream_full and not self.closed
        if self.ready and self.waiting:
            waiting, self.waiting = self.waiting, {}
            for channel in waiting:
                channel.resume()

    def hold(self) -> None:
        """No data may be sent until `resume`."""
        self.ready = False

    def close(self) -> None:
        """Nothing is sent any more."""
        self.closed = True
        self.ready = False
        self.waiting.clear()
        self._sock = None
        self._release()
