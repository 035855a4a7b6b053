"""Packets in, connections out: the device, the flows, virtual DNS and the proxy, in one loop.

It needs no privilege: everything that took one is open when it starts.
"""

import asyncio
import contextlib
import io
import socket
import struct
from collections.abc import Coroutine

from wraith_tun import dns
from wraith_tun import packets as ip
from wraith_tun.device_linux import Device, Networks
from wraith_tun.flows import Flow, Flows
from wraith_tun.packets import VNET, Ends, Unreachable, Version
from wraith_tun.relay import relay
from wraith_tun.to_socks5 import NotTaken, Refused, Socks5, read
from wraith_tun.udp import Associations

PATIENCE = 60.0
"""Seconds for the proxy to reach a destination."""

ACCEPTED = 15.0
"""Seconds for the application to take a connection that is ready."""

IDLE = 10.0
"""Seconds between two queries on one connection."""

BURST = 64
"""Packets that are read in a row."""

_REASONS = {3: Unreachable.NETWORK, 4: Unreachable.HOST, 6: Unreachable.HOST}
"""By SOCKS5 reply; 6 is a time-out at the far side. All others are a reset."""


class Engine:
    """Serves a device until `end`, or until it is gone; `over` tells the exit code."""

    def __init__(
        self,
        device: Device,
        networks: Networks,
        socks5: Socks5,
        names: dns.Names,
        *,
        virtual_dns: bool,
        udp: bool,
        limit: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[int] = self._loop.create_future()
        self._tun = io.FileIO(device.tun, "r+b")
        self._buffer = bytearray(ip.LARGEST)
        self._view = memoryview(self._buffer)
        self._socks5, self._names, self._virtual_dns = socks5, names, virtual_dns
        pairs = list(zip(networks, device.listeners, strict=False))
        self._flows = Flows(
            [(own.ip.packed, (own.ip + 1).packed, s.getsockname()[1]) for own, s in pairs], limit
        )
        self._peers = {(own.ip + 1).packed for own in networks}
        self._udp = Associations(socks5, names, self.write, self.spawn) if udp else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._awaited: dict[Flow, asyncio.Future[socket.socket]] = {}
        self._loop.add_reader(self._tun.fileno(), self.drain)
        for _, listener in pairs:
            self._loop.add_reader(listener, self._accept, listener)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Own a task until it ends."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self, code: int) -> None:
        """Be over, with an exit code; the first one counts."""
        if not self.over.done():
            self.over.set_result(code)

    # Packets

    def drain(self) -> None:
        """Handle the packets that wait, up to a burst."""
        try:
            for _ in range(BURST):
                size = self._tun.readinto(self._buffer)
                if not size:
                    return
                version = ip.version_of(self._buffer, size)
                if version is None:
                    continue
                if self._buffer[VNET + version.protocol] == ip.TCP:
                    self._segment(size, version, VNET + version.header)
                else:
                    self._other(bytes(self._view[:size]), version, VNET + version.header)
        except OSError:  # the device has been removed
            self._loop.remove_reader(self._tun.fileno())
            self.end(1)

    def write(self, packet: bytes | bytearray | memoryview | None) -> None:
        """Give the kernel a packet; one that it does not take is lost, as on any network."""
        if packet:
            with contextlib.suppress(OSError):
                self._tun.write(packet)

    def _segment(self, size: int, version: Version, start: int) -> None:
        ends = bytes(self._view[VNET + version.ends : start + 4])
        syn = self._buffer[start + 13] & (ip.SYN | ip.ACK) == ip.SYN
        to = self._flows.find(ends, syn=syn)
        if to is not None:
            ip.redirect(self._buffer, size, to)
            self.write(self._view[:size])
        elif not (syn and (self._flows.knows(ends) or self._begin(ends, size))):
            self.write(ip.refusal(bytes(self._view[:size]), version))

    def _begin(self, ends: bytes, size: int) -> bool:
        destination, port = Ends.of(ends).destination, int.from_bytes(ends[-2:], "big")
        queries = self._virtual_dns and port == 53
        name = self._names.name(destination)
        if not queries and (name == "" or destination in self._peers or _is_multicast(destination)):
            return False  # a name of an earlier run; ourselves; or nobody
        flow = self._flows.begin(ends, bytes(self._view[:size]))
        if flow is None:
            return False
        if queries:
            self.spawn(self._answer_names(flow))
        else:
            self.spawn(self._connect(flow, destination, name, port))
        return True

    def _other(self, packet: bytes, version: Version, start: int) -> None:
        ends = Ends.of(packet[VNET + version.ends : start + 4])
        protocol = packet[VNET + version.protocol]
        if _is_multicast(ends.destination):
            return
        if protocol == ip.UDP and self._virtual_dns and ends.destination_port == b"\0\x35":
            found = dns.answer(self._names, ip.payload(packet, version))
            self.write(found and ip.datagram(ends.reversed(), found))
        elif protocol == ip.UDP and self._udp is not None:
            self._udp.send(packet, version, ends)
        elif protocol == ip.UDP:
            self.write(ip.unreachable(packet, version, Unreachable.PORT))
        elif protocol != version.icmp or packet[start] == version.echo_request:
            self.write(ip.unreachable(packet, version, Unreachable.PROHIBITED))

    # Connections

    async def _connect(self, flow: Flow, address: bytes, name: str | None, port: int) -> None:
        """The SYN waits until the destination is reached, so the application learns the truth."""
        self._names.use(address)
        try:
            async with asyncio.timeout(PATIENCE):
                upstream = await self._socks5.connect(name or address, port)
            with upstream:
                app = await self._admitted(flow)
                await relay(app, upstream, self.drain)
        except Refused as refused:
            self._refuse(flow, _REASONS.get(refused.reply))
        except (OSError, EOFError, ValueError, NotTaken):  # the proxy is not there
            self._refuse(flow, Unreachable.NETWORK)
        finally:
            self._names.release(address)
            self._flows.end(flow, self._loop.time())

    def _refuse(self, flow: Flow, why: Unreachable | None) -> None:
        version = ip.IPV4 if len(flow.ends) == 12 else ip.IPV6
        if not flow.back:  # else it was open, and has ended otherwise
            reset = ip.refusal(flow.syn, version)
            self.write(ip.unreachable(flow.syn, version, why) if why else reset)

    async def _admitted(self, flow: Flow) -> socket.socket:
        """The application's connection, as the kernel accepts it. Raises `TimeoutError`."""
        syn = bytearray(flow.syn)
        ip.redirect(syn, len(syn), self._flows.open(flow))
        self.write(syn)
        awaited = self._awaited[flow] = self._loop.create_future()
        try:
            async with asyncio.timeout(ACCEPTED):
                app: socket.socket = await awaited
                return app
        finally:
            del self._awaited[flow]

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(BURST):
            try:
                app, address = listener.accept()
            except OSError:
                return
            app.setblocking(False)
            flow = self._flows.accepted(address[1])
            awaited = self._awaited.get(flow) if flow else None
            if awaited is None or awaited.done():
                app.close()
            else:
                awaited.set_result(app)

    async def _answer_names(self, flow: Flow) -> None:
        """Queries over TCP, each behind its length (RFC 1035, 4.2.2)."""
        try:
            with await self._admitted(flow) as app:
                while True:
                    async with asyncio.timeout(IDLE):
                        (size,) = struct.unpack(">H", await read(app, 2))
                        found = dns.answer(self._names, await read(app, size)) or b""
                        await self._loop.sock_sendall(app, struct.pack(">H", len(found)) + found)
        except (OSError, EOFError):  # nothing more is asked
            pass
        finally:
            self._flows.end(flow, self._loop.time())


def _is_multicast(address: bytes) -> bool:
    return address[0] >= 224 if len(address) == 4 else address[0] == 0xFF
