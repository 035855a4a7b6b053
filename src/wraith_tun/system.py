"""The whole system through the tunnel, by policy rules that leave the main table as it is.

    order  which packets                                         look into
    +0     to bypassed networks; of bypassed users               main
    +1     from ports that listened at the start; of the         main
           connections established then
    +2     DNS                                                   ours
    +3     to private networks on the link at the start          main
    +4     all others, or those to the networks of --route       ours

Ours has one default route, to the device, and goes with it: rules that a killed run leaves lead to
an empty table, and the next in line is main. With the kill switch there is a second route, to
nowhere, that stays until the next start or `--restore`.

A *janitor* keeps the privileges, watches an engine that has none, and clears up after it.
"""

import contextlib
import os
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

from wraith_tun import netlink
from wraith_tun.device_linux import Device, open_device
from wraith_tun.engine import Engine
from wraith_tun.errors import CannotStart
from wraith_tun.netlink import EVERYTHING, MAIN, Address, add_route, add_rule
from wraith_tun.privileges import NOBODY, STOP, die_with, give_up

TABLE = 7771
ORDERS = (range(7700, 7710), range(7710, 7720))
"""A start takes the one that no earlier run has left, so that old rules hold until new ones do."""

MOST_CONNECTIONS = 1000
"""Established connections that are left where they are, each by a rule of its own."""

_TCP, _UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP


class Connection(NamedTuple):
    """A TCP socket of this network namespace, as proc(5) tells it."""

    local: Address
    port: int
    remote: Address
    remote_port: int
    listens: bool
    inode: str


def connections() -> list[Connection]:
    """The sockets that listen or are connected."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                _, local, remote, state, *fields = line.split()
                if state in ("01", "0A"):
                    ends = *_end(local), *_end(remote)
                    found.append(Connection(*ends, state == "0A", fields[5]))
    return found


def _end(text: str) -> tuple[Address, int]:
    """An address in words of the machine's own order, and a port."""
    words, port = text.split(":")
    starts = range(0, len(words), 8)
    packed = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in starts)
    address = ip_address(packed)
    return getattr(address, "ipv4_mapped", None) or address, int(port, 16)


def _servers(port: int, found: Sequence[Connection]) -> set[tuple[Address, int]]:
    """Where the process that listens on the proxy's port is connected to, beyond this machine."""
    listening = {each.inode for each in found if each.listens and each.port == port}
    away = [s for s in found if not s.listens and s.port != port and not s.remote.is_loopback]
    servers: set[tuple[Address, int]] = set()
    for folder in Path("/proc").glob("[0-9]*/fd"):
        held = set()
        with contextlib.suppress(OSError):  # it has ended, or is none of our business
            for entry in folder.iterdir():
                held.add(str(entry.readlink())[8:-1])  # socket:[inode]
        if held & listening:
            servers.update((s.remote, s.remote_port) for s in away if s.inode in held)
    return servers


def _add_rules(options: Namespace, order: int, found: Sequence[Connection]) -> None:
    """The rules as the table above has them. `servers` is where the proxy itself connects to."""
    found = [each for each in found if not each.local.is_loopback]
    listening = {each.port for each in found if each.listens}
    for network in options.bypass:
        add_rule(network.version, order, MAIN, network)
    for address, port in options.servers:
        add_rule(address.version, order, MAIN, ip_network(address), protocol=_TCP, port=port)
    for version in netlink.FAMILIES:
        for uid in options.bypass_uid:
            add_rule(version, order, MAIN, uid=uid)
        for port in listening:
            add_rule(version, order + 1, MAIN, protocol=_TCP, source_port=port)
        for protocol in (_UDP, _TCP) if options.dns == "virtual" else ():
            add_rule(version, order + 2, TABLE, protocol=protocol, port=53)
    for each in found[:MOST_CONNECTIONS]:
        if each.port not in listening:
            ends = ip_network(each.remote), ip_network(each.local)
            ports = each.port, each.remote_port
            add_rule(each.local.version, order + 1, MAIN, *ends, _TCP, *ports)
    # Private ones, since whoever runs a link could claim any part of the Internet as a neighbour.
    for to, direct, _ in options.main:
        if direct and to.prefixlen and to.is_private:
            add_rule(to.version, order + 3, MAIN, to)
    for network in options.route or EVERYTHING:
        add_rule(network.version, order + 4, TABLE, network)


def _clear(keep: range = range(0), *, closed: bool = False) -> None:
    """Remove our rules, but for those of some orders; and the routes to nowhere unless `closed`."""
    for order, rule in netlink.our_rules():
        if order not in keep:
            netlink.remove_rule(rule)
    for route in netlink.routes(TABLE):
        if not route.direct and not closed:
            netlink.remove_route(route)


def _refuse_a_second() -> None:
    """Raise `CannotStart` if another one runs in this network."""
    if any(route.direct for route in netlink.routes(TABLE)):
        raise CannotStart("it runs here already; stop that one first")


def _notify() -> None:
    """Tell people, and systemd (sd_notify(3))."""
    with contextlib.suppress(OSError):  # nobody reads it
        os.write(2, b"wraith-tun: up\n")
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", path.replace("@", "\0", 1))


def _divert(options: Namespace, found: Sequence[Connection], device: Device) -> None:
    left = {order for order, _ in netlink.our_rules()}
    orders = next(orders for orders in ORDERS if left.isdisjoint(orders))
    for own, _ in device.sides:
        add_route(EVERYTHING[own.version == 6], TABLE, device.link, own.ip)
    for to in EVERYTHING if options.kill_switch else ():
        add_route(to, TABLE)
    for own in options.networks:
        add_rule(own.version, orders[4], TABLE, own.network)
    _add_rules(options, orders[0], found)
    _clear(keep=orders, closed=options.kill_switch)


def restore() -> None:
    """Remove what a killed run has left. Raises `CannotStart`, also while one runs."""
    try:
        _refuse_a_second()
        _clear()
    except OSError as error:
        raise CannotStart(f"rules cannot be removed ({error.strerror}); this needs root") from error


def run(options: Namespace) -> int:
    """Be the janitor of an engine until it ends; returns an exit code. Raises `CannotStart`."""
    _refuse_a_second()
    found, options.main = connections(), netlink.routes(MAIN)
    options.servers = set()
    if ip_address(options.server.host).is_loopback:
        options.servers = _servers(options.server.port, found)
    else:
        options.bypass.append(ip_network(options.server.host))
    if not options.servers and not options.bypass and not options.bypass_uid:
        print(
            "wraith-tun: nobody can see where the SOCKS5 server connects to; name that address "
            "with --bypass, or the tunnel goes in circles",
            file=sys.stderr,
        )
    device = open_device(options)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP, signal.SIGCHLD})
    janitor, child = os.getpid(), os.fork()
    if child == 0:
        try:
            give_up(NOBODY)
            die_with(janitor)  # and with nothing else, as the signals are blocked here, too
            Engine(device, options).run()
        finally:
            os._exit(1)
    os.close(device.tun)  # the device is to go when the engine does
    asked = False
    try:
        _divert(options, found, device)
        _notify()
        asked = signal.sigwait({*STOP, signal.SIGCHLD}) in STOP
    except OSError as error:
        raise CannotStart(f"the routes cannot be set: {error.strerror}") from error
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if asked or not options.kill_switch:
            _clear()
    if not asked:
        closed = "; nothing goes out until the next start, or `wraith-tun --restore`"
        raise CannotStart("the engine has ended" + (closed if options.kill_switch else ""))
    return 0
