"""The receiving half of a TLS stream: records opened straight to where they are wanted."""

from __future__ import annotations

import asyncio
import ssl

from wraith.streams.direct import DirectReceiver
from wraith.streams.sealing import RECORD, Sealing, reader_of

OPEN_AT_ONCE = 256 * 1024
"""Bytes received in one go, and delivered before it is others' turn."""


class OpenedRecords(asyncio.Transport):
    """Delivers what OpenSSL opens to the protocol on top, with pauses and the end-of-file.

    `TlsStream` is the other half: it says when there may be something, by `_deliver`.
    """

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._below: asyncio.Transport
        self._sealing: Sealing | None = None
        self._secured = False
        self._held = bytearray()  # opened, and not delivered yet
        self._more = False  # whether there may be something to deliver without a new byte
        self._paused = self._closing = self._read_eof = False
        self._delivery: asyncio.Handle | None = None

    def _flush(self) -> None:
        """Send what OpenSSL has to say for itself."""
        raise NotImplementedError

    def _fail(self, error: Exception) -> None:
        """End with an error."""
        raise NotImplementedError

    # The protocol on top

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the stream to another protocol."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that now reads the stream."""
        return self._protocol

    # What can be opened

    def _deliver(self) -> None:
        """Hand on whatever can be opened."""
        assert self._sealing is not None
        self._more = True
        if self._held:
            self._deliver_held()
        if self._sealing.heard_goodbye:
            if self._may_deliver():
                self._end_of_file()
            return
        protocol: object = self._protocol
        if isinstance(protocol, DirectReceiver):
            self._deliver_into(protocol)
        else:
            self._deliver_pieces()
        if not self._closing:
            self._flush()

    def _may_deliver(self) -> bool:
        return not (self._paused or self._closing or self._read_eof)

    def _deliver_into(self, receiver: DirectReceiver) -> None:
        """Open records straight into the receiver's buffer, as many as it takes at a time."""
        sealing = self._sealing
        assert sealing is not None
        read, has_more = reader_of(sealing.tls), sealing.has_more
        taken = 0
        while self._may_deliver():
            now: object = self._protocol
            if now is not receiver:
                self._deliver()
                return
            space = receiver.get_buffer()
            size, filled, ended = len(space), 0, False
            error: OSError | None = None
            try:
                while filled < size:
                    count = read(size - filled, space[filled:])
                    filled += count
                    if count == RECORD:
                        continue  # the usual case of bulk; at the end OpenSSL says so itself
                    if not count:
                        ended = True
                        break
                    if not has_more():
                        self._more = False  # a message of its own: spares the exception
                        break
            except ssl.SSLWantReadError:
                self._more = False
            except ssl.SSLWantWriteError:
                self._more = False
                sealing.wait_for_room()
            except ssl.SSLZeroReturnError:
                ended = True
            except OSError as caught:
                error = caught
            if filled:
                receiver.buffer_updated(filled)
                if not self._may_deliver():  # an end is met again by the next reading
                    self._more = True
                    return
            if ended:
                self._end_of_file()
            elif error is not None:
                self._fail(error)
            elif self._more:
                taken += filled
                if taken < OPEN_AT_ONCE:
                    continue
                self._deliver_soon()  # a socket may never be empty
            return

    def _deliver_pieces(self) -> None:
        """Open record by record, for protocols of the usual kind."""
        taken = 0
        while self._may_deliver():
            data = self._open_record()
            if not data:
                return
            self._protocol.data_received(data)
            taken += len(data)
            if taken >= OPEN_AT_ONCE:
                self._deliver_soon()
                return

    def _open_record(self) -> bytes:
        """The content of the next record; b"" where there is none, or when the peer has ended."""
        assert self._sealing is not None
        try:
            data = self._sealing.tls.read(RECORD)
        except ssl.SSLWantReadError:
            self._more = False
            return b""
        except ssl.SSLWantWriteError:
            self._more = False
            self._sealing.wait_for_room()
            return b""
        except ssl.SSLZeroReturnError:
            data = b""
        except OSError as error:
            self._fail(error)
            return b""
        if not data:
            self._end_of_file()
        return data

    def _deliver_held(self) -> None:
        """What was opened before it could be delivered."""
        while self._held and self._may_deliver():
            protocol = self._protocol
            if isinstance(protocol, DirectReceiver):
                space = protocol.get_buffer()
                count = min(len(space), len(self._held))
                space[:count] = self._held[:count]
                del self._held[:count]
                protocol.buffer_updated(count)
            else:
                data = bytes(self._held)
                self._held.clear()
                protocol.data_received(data)

    def _end_of_file(self) -> None:
        assert self._sealing is not None
        self._read_eof = True
        self._more = False
        self._sealing.no_more_to_read()
        if not self._protocol.eof_received():
            self.close()

    def is_reading(self) -> bool:
        """Whether received bytes are delivered."""
        return not self._paused and not self._closing and not self._read_eof

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""
        self._paused = True
        if self._secured and not self._closing:
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again; after the end-of-file there is nothing more to deliver."""
        if not self._paused:
            return
        self._paused = False
        if self._closing:
            return
        self._below.resume_reading()
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        if self._more and self._delivery is None and self._may_deliver():
            self._delivery = asyncio.get_running_loop().call_soon(self._deliver_later)

    def _deliver_later(self) -> None:
        self._delivery = None
        if not self._secured or not self._may_deliver():
            return
        try:
            self._deliver()
        except Exception as error:  # the protocol raised: the end of this connection only
            context = {"message": "a protocol failed", "exception": error, "transport": self}
            asyncio.get_running_loop().call_exception_handler(context)
            self.abort()
