"""Packets in, connections out: the device, the flows, virtual DNS and the proxy, in one loop.

It needs no privilege: everything that took one is open when it starts.
"""

import io
import resource
import secrets
import socket
import struct
from argparse import Namespace
from functools import partial

from wraith_tun import dns
from wraith_tun import packets as ip
from wraith_tun.device_linux import Device
from wraith_tun.flows import Flow, Flows
from wraith_tun.loop import IN, Loop, Work
from wraith_tun.packets import VNET, Ends, Unreachable, Version
from wraith_tun.relay import relay
from wraith_tun.socks5 import NotTaken, Refused, Socks5, read, send
from wraith_tun.udp import Associations

PATIENCE = 60.0
"""Seconds for the proxy to reach a destination."""

ACCEPTED = 15.0
"""Seconds for the application to take a connection that is ready."""

IDLE = 10.0
"""Seconds between two queries on one connection."""

DESCRIPTORS = 600
"""Descriptors that are not for connections, which need two each: most are for UDP."""

BURST = 64
"""Packets that are read in a row."""

_REASONS = {3: Unreachable.NETWORK, 4: Unreachable.HOST, 6: Unreachable.HOST}
"""By SOCKS5 reply; 6 is a time-out at the far side. All others are a reset."""


class Engine:
    """Serves a device until `end`, or until it is gone."""

    def __init__(self, device: Device, options: Namespace) -> None:
        self.loop = Loop()
        self._code: int | None = None
        self._tun = io.FileIO(device.tun, "r+b")
        self._buffer = bytearray(ip.LARGEST)
        self._view = memoryview(self._buffer)
        self._socks5: Socks5 = options.server
        self._virtual_dns = options.dns == "virtual"
        network = options.networks[0].network
        self._names = dns.Names(network, options.names, secrets.randbelow(network.num_addresses))
        sides = [
            (own.ip.packed, (own.ip + 1).packed, listener.getsockname()[1])
            for own, listener in device.sides
        ]
        self._flows = Flows(sides, _most_connections())
        self._peers = {peer for _, peer, _ in sides}
        self._udp = None
        if options.udp == "proxy":
            self._udp = Associations(self.loop, self._socks5, self._names, self.write)
        self._awaited: dict[int, Work[None]] = {}
        self.loop.watch(device.tun, IN, self.drain)
        for own, listener in device.sides:
            accept = partial(self._accept, listener, str(own.ip + 1))
            self.loop.watch(listener.fileno(), IN, accept)

    def end(self, code: int) -> None:
        """Be over, with an exit code; the first one counts."""
        if self._code is None:
            self._code = code

    def run(self) -> int:
        """Serve; returns the exit code."""
        while self._code is None:
            self.loop.turn()
        return self._code

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
            self.end(1)

    def write(self, packet: bytes | bytearray | memoryview | None) -> None:
        """Give the kernel a packet; one that it does not take is lost, as on any network."""
        try:
            if packet:
                self._tun.write(packet)
        except OSError:
            pass

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
        upstream = None if queries else self._socks5.connect(self.loop, name or destination, port)
        self.loop.start(self._connect(flow, destination, upstream))
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

    def _connect(
        self, flow: Flow, address: bytes, connecting: Work[socket.socket] | None
    ) -> Work[None]:
        """The SYN waits until the destination is reached, so the application learns the truth."""
        self._names.use(address)
        app = upstream = None
        try:
            if connecting is not None:
                self.loop.allow(PATIENCE)
                upstream = yield from connecting
            app = yield from self._admitted(flow)
            if upstream is not None:
                yield from relay(self.loop, app, upstream, self.drain)
            else:
                yield from self._answer_names(app)
        except Refused as refused:
            self._refuse(flow, _REASONS.get(refused.reply))
        except (OSError, EOFError, ValueError, NotTaken):  # the proxy is not there
            self._refuse(flow, Unreachable.NETWORK)
        finally:
            self.loop.close(app, upstream)
            self._names.release(address)
            self._flows.end(flow, self.loop.now)

    def _refuse(self, flow: Flow, why: Unreachable | None) -> None:
        syn, version = flow.syn, ip.IPV4 if len(flow.ends) == 12 else ip.IPV6
        if not flow.back:  # else it was open, and has ended otherwise
            self.write(ip.unreachable(syn, version, why) if why else ip.refusal(syn, version))
            self.drain()  # the error may set a late SYN free (RFC 6069), which is still this flow's

    def _admitted(self, flow: Flow) -> Work[socket.socket]:
        """The application's connection, as the kernel accepts it. Raises `TimeoutError`."""
        syn = bytearray(flow.syn)
        ip.redirect(syn, len(syn), self._flows.open(flow))
        self.write(syn)
        assert self.loop.work is not None
        self._awaited[flow.port] = self.loop.work
        try:
            self.loop.allow(ACCEPTED)
            app = yield
        finally:
            del self._awaited[flow.port]
        assert app is not None
        return app

    def _accept(self, listener: socket.socket, peer: str) -> None:
        for _ in range(BURST):
            try:
                app, address = listener.accept()
            except OSError:
                return
            app.setblocking(False)
            work = self._awaited.get(address[1])
            if work is None or address[0] != peer:  # somebody else who has found the listener
                app.close()
            else:
                self.loop.resume(work, app)

    def _answer_names(self, app: socket.socket) -> Work[None]:
        """Queries over TCP, each behind its length (RFC 1035, 4.2.2), until nothing is asked."""
        while True:
            self.loop.allow(IDLE)
            (size,) = struct.unpack(">H", (yield from read(self.loop, app, 2)))
            found = dns.answer(self._names, (yield from read(self.loop, app, size))) or b""
            yield from send(self.loop, app, struct.pack(">H", len(found)) + found)


def _is_multicast(address: bytes) -> bool:
    return address[0] >= 224 if len(address) == 4 else address[0] == 0xFF


def _most_connections() -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return max(most - DESCRIPTORS, 100) // 2
