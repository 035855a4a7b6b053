"""SOCKS5 UDP ASSOCIATE at the local port (RFC 1928, section 7): a socket, and a channel behind it.

    program ──UDP──▶ relay socket ──frames──▶ channel ──▶ server ──UDP──▶ destinations

The association lives as long as the TCP connection that asked for it, and that one as long as the
channel. Only the program itself is heard: the address that its connection comes from, and the port
that it named, or else the first one that it sends from.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from wraith.errors import ChannelRefused, Refusal
from wraith.protocol.datagrams import SOCKS5_HEADER, FrameReader, frames, parcel_of
from wraith.streams.datagram_socket import DatagramSocket, Received, SocketAddress
from wraith.streams.relay import reset
from wraith.streams.tally import Tally
from wraith.values.address import HostPort, TcpDestination

QUEUE = 128 * 1024
"""Bytes that may wait for the tunnel; meanwhile the program's datagrams are left to the kernel."""

OpenDatagrams = Callable[[asyncio.Protocol], Awaitable[asyncio.Transport]]
"""Opens the channel. Raises `ChannelRefused` or `SessionLost`."""


async def associate(
    control: asyncio.Transport, expected: TcpDestination, open_datagrams: OpenDatagrams
) -> UdpAssociation:
    """An association for the program at the other end of `control`.

    `expected` is where it says that its datagrams will come from; `0.0.0.0:0` if it does not know.
    Raises what `open_datagrams` raises, and `ChannelRefused` where no socket can be had. Cancelled,
    it leaves nothing open.
    """
    near, far = control.get_extra_info("sockname"), control.get_extra_info("peername")
    if near is None or far is None:  # the program has gone already
        raise ChannelRefused(Refusal.FAILED)
    association = UdpAssociation(control, near, _host(far), expected)
    try:
        await open_datagrams(association)
    except BaseException:
        association.close()
        raise
    return association


class UdpAssociation(asyncio.Protocol):
    """The protocol of the channel; owns the relay socket. Made by `associate`."""

    def __init__(
        self,
        control: asyncio.Transport,
        near: SocketAddress,
        peer_host: str,
        expected: TcpDestination,
    ) -> None:
        self._control = control
        self._peer_host = peer_host
        self._expected_port = _expected_port(expected, peer_host)
        self._program: SocketAddress | None = None
        self._channel: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._socket = _relay_socket(near, self._from_program)
        self._kept = False
        self._tally: Tally | None = None
        self._came = self._went = 0

    def __repr__(self) -> str:
        state = "opening" if self._channel is None else "open"
        return f"<UdpAssociation {state}>"

    @property
    def address(self) -> HostPort:
        """Where the program is to send its datagrams."""
        bound = self._socket.address
        return HostPort(_host(bound), bound[1])

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes from the program and to it, as `Carrier.carried`."""
        return self._came, self._went

    def keep_with(self, control: asyncio.Transport, tally: Tally | None = None) -> None:
        """End with this stream from now on, and it with us; what it brings is of no interest."""
        self._kept = True
        self._tally = tally
        if tally is not None:
            tally.began(self)
        control.set_protocol(_Control(self))
        control.resume_reading()
        if self._channel is None or self._channel.is_closing():
            reset(control)

    def close(self) -> None:
        """End it; may be called more than once."""
        self._socket.close()
        if self._tally is not None:
            self._tally.ended(self)
        if self._channel is not None:
            self._channel.close()

    # The program's side

    def _from_program(self, received: list[Received]) -> None:
        parcels: list[bytes] = []
        for datagram, sender in received:
            if self._program is None and not self._recognise(sender):
                continue
            if sender != self._program:
                continue
            parcel = parcel_of(datagram)
            if parcel is not None:
                parcels.append(parcel)
        if parcels and self._channel is not None:
            self._came += sum(map(len, parcels))
            self._channel.write(frames(parcels))

    def _recognise(self, sender: SocketAddress) -> bool:
        if _host(sender) != self._peer_host or self._expected_port not in (0, sender[1]):
            return False
        self._program = sender
        return True

    # The channel's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server has granted it."""
        assert isinstance(transport, asyncio.Transport)
        self._channel = transport
        transport.set_write_buffer_limits(QUEUE)

    def data_received(self, data: bytes) -> None:
        """Datagrams have come; without a program that has spoken they have no place to go."""
        for parcel in self._reader.receive_data(data):
            if self._program is not None:
                self._went += len(parcel)
                with contextlib.suppress(OSError):  # larger than this system's datagrams may be
                    self._socket.send(SOCKS5_HEADER + parcel, self._program)

    def pause_writing(self) -> None:
        """The tunnel is full."""
        self._socket.pause()

    def resume_writing(self) -> None:
        """The tunnel has room."""
        self._socket.resume()

    def eof_received(self) -> bool:
        """The server ends it."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone: the program shall see that, and ask anew."""
        self._channel = None
        self.close()
        if self._kept:
            reset(self._control)


class _Control(asyncio.Protocol):
    """The protocol of the TCP connection that an association belongs to."""

    def __init__(self, association: UdpAssociation) -> None:
        self._association = association

    def eof_received(self) -> bool:
        """The program is done (RFC 1928, section 7)."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """So is the association."""
        self._association.close()


def _relay_socket(
    sockname: SocketAddress, receive: Callable[[list[Received]], None]
) -> DatagramSocket:
    """A socket at the address where the program has reached us, and a port that is free."""
    family = socket.AF_INET if len(sockname) == 2 else socket.AF_INET6
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:
        raise ChannelRefused(Refusal.FAILED) from None
    try:
        sock.setblocking(False)
        sock.bind((sockname[0], 0, *sockname[2:]))
    except OSError:
        sock.close()
        raise ChannelRefused(Refusal.FAILED) from None
    return DatagramSocket(sock, receive)


def _host(address: SocketAddress) -> str:
    return str(address[0]).partition("%")[0]


def _expected_port(expected: TcpDestination, peer_host: str) -> int:
    """The port that the program named, or 0: one behind another address says nothing here."""
    try:
        named = ipaddress.ip_address(expected.host)
    except ValueError:
        return 0
    if named.is_unspecified or str(named) == peer_host:
        return expected.port
    return 0
