"""The TUN device, its addresses, and the listeners on them (Linux, networking/tuntap)."""

import contextlib
import errno
import fcntl
import os
import socket
import struct
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

from wraith_tun import netlink
from wraith_tun.errors import CannotStart
from wraith_tun.netlink import FAMILIES, Interface
from wraith_tun.packets import VNET

PATH = "/dev/net/tun"
MTU = 65535
QUEUE = 4000
"""Packets that wait to be read: a thousand streams at once overflow the usual 1000, and a SYN that
is lost costs a second."""

_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
_TUN_NO_PI_VNET_HDR = 0x0001 | 0x1000 | 0x4000
_CSUM_TSO4_TSO6_ECN = 15

_REMEDIES = {
    errno.ENOENT: f"there is no {PATH}; `modprobe tun` as root brings it",
    errno.ENODEV: f"{PATH} has no driver behind it; `modprobe tun` as root brings it",
    errno.EACCES: f"{PATH} is for root only here; use sudo, or `chmod 666 {PATH}` for --unshare",
    errno.EPERM: "a network device needs root here; use sudo, or --unshare for one command",
}


class Device(NamedTuple):
    """An open device that is up: its addresses, each with a listener on it."""

    tun: int
    link: int
    sides: list[tuple[Interface, socket.socket]]


def open_device(options: Namespace) -> Device:
    """Make the device and bring it up. Raises `CannotStart`.

    Its addresses bring no route with them, so the main table stays as it is. There is no listener
    for IPv6 where the system has none at all.
    """
    name = options.tun_name
    try:
        tun = os.open(PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_NO_PI_VNET_HDR))
        fcntl.ioctl(tun, _TUNSETVNETHDRSZ, struct.pack("i", VNET))
        fcntl.ioctl(tun, _TUNSETOFFLOAD, _CSUM_TSO4_TSO6_ECN)
        link = socket.if_nametoindex(name)
        netlink.bring_up(link, MTU, QUEUE)
        networks = options.networks if Path("/proc/net/if_inet6").exists() else options.networks[:1]
        with contextlib.suppress(OSError):  # it may be off for new devices, and not for others
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")
        return Device(tun, link, [(own, _listener(link, own)) for own in networks])
    except OSError as error:
        used = f"the name {name} is in use; choose another with --tun-name"
        remedies = {**_REMEDIES, errno.EBUSY: used, errno.EINVAL: used}
        why = remedies.get(error.errno or 0, f"the device cannot be made: {error.strerror}")
        raise CannotStart(why) from error


def _listener(link: int, own: Interface) -> socket.socket:
    netlink.add_address(link, own)
    listener = socket.create_server((str(own.ip), 0), family=FAMILIES[own.version], backlog=4096)
    listener.setblocking(False)
    return listener
