"""One command in a network of its own, without root (user_namespaces(7)).

    parent, outside                      child
                                         ─ makes the namespaces, the device, the routes
                                         ─ gives up its capabilities
    ◄──── device and listeners ────────  ─ (SCM_RIGHTS)
    ─ the engine, the proxy              ─ becomes the command

Neither outlives the other: the child is killed with its parent, the parent ends with its child.
What the command may have started goes on with a network that has nothing but loopback.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

from wraith_tun import netlink
from wraith_tun.device_linux import Device, open_device
from wraith_tun.engine import Engine
from wraith_tun.errors import CannotStart
from wraith_tun.loop import IN
from wraith_tun.privileges import STOP, check, die_with, give_up, libc

_NEWNS, _NEWUSER, _NEWNET = 0x20000, 0x10000000, 0x40000000
_MS_BIND, _MNT_DETACH = 4096, 2

RESOLVERS = ("/run/nscd", "/var/run/nscd", "/run/systemd/resolve", "/run/avahi-daemon")
"""Services outside that resolve names over Unix sockets, which no network namespace stops."""

FORBIDDEN = (
    "user namespaces are switched off here; root allows them by "
    "`sysctl user.max_user_namespaces=10000`, and where that exists, "
    "`sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0`"
)


def run(options: Namespace) -> int:
    """Run the command; returns its exit code, as a shell has it. Raises `CannotStart`."""
    command = options.command or [os.environ.get("SHELL", "/bin/sh")]
    os.environ.pop("WRAITH_TUN_SOCKS5_AUTH", None)  # not for the command
    ours, theirs = socket.socketpair()
    enter = partial(_enter, options, os.getpid(), theirs)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # they wait until somebody can be told
    try:
        child = subprocess.Popen(command, preexec_fn=enter)  # noqa: S603 - it is what we are for
    except OSError as error:
        print(f"wraith-tun: {command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        return 127 if error.errno == errno.ENOENT else 126
    except subprocess.SubprocessError:
        pass  # the child has told what is wrong
    theirs.close()
    said, fds, _, _ = socket.recv_fds(ours, 4096, 3)
    if not fds:
        raise CannotStart(said.decode() or "the command ended before its network was ready")
    listeners = [socket.socket(fileno=fd) for fd in fds[1:]]
    sides = list(zip(options.networks, listeners, strict=False))
    engine = Engine(Device(fds[0], 0, sides), options)
    for number in STOP:
        signal.signal(number, lambda number, _: child.send_signal(number))
    signal.signal(signal.SIGINT, lambda *_: None)  # the terminal tells the command, too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
    engine.loop.watch(os.pidfd_open(child.pid), IN, lambda: engine.end(child.wait()))
    code = engine.run()
    return code if code >= 0 else 128 - code


def _enter(options: Namespace, parent: int, theirs: socket.socket) -> None:
    """Make the network in the child, before it becomes the command; tell the parent what it needs
    to serve it, or what cannot be done."""
    try:
        _unshare(parent)
        device = open_device(options)
        _prepare(device, options)
        give_up()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
        fds = [device.tun, *(listener.fileno() for _, listener in device.sides)]
        socket.send_fds(theirs, [b"ready"], fds)
    except CannotStart as error:
        theirs.send(str(error).encode())
        raise
    except OSError as error:
        theirs.send(f"the namespace cannot be set up: {error}".encode())
        raise


def _unshare(parent: int) -> None:
    user, group = os.geteuid(), os.getegid()
    try:
        check(libc.unshare(_NEWUSER | _NEWNET | _NEWNS))
        die_with(parent)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        netlink.bring_up(socket.if_nametoindex("lo"), 65536, 1000)
    except OSError as error:
        raise CannotStart(FORBIDDEN) from error


def _prepare(device: Device, options: Namespace) -> None:
    for own, _ in device.sides:
        for to in (own.network, *(options.route or netlink.EVERYTHING)):
            if to.version == own.version:
                netlink.add_route(to, netlink.MAIN, device.link, own.ip)
    for folder in filter(os.path.isdir, RESOLVERS):
        check(libc.mount(b"none", folder.encode(), b"tmpfs", 0, b"mode=755"))
    if options.dns == "virtual":
        check(libc.mount(b"none", b"/tmp", b"tmpfs", 0, b"mode=755"))
        server = options.networks[0].ip + 1
        _cover("/etc/resolv.conf", f"nameserver {server}\noptions timeout:3 attempts:2\n")
        if Path("/etc/nsswitch.conf").exists():
            lines = Path("/etc/nsswitch.conf").read_text().splitlines()
            kept = [line for line in lines if not line.lstrip().startswith("hosts:")]
            _cover("/etc/nsswitch.conf", "\n".join([*kept, "hosts: files dns", ""]))
        check(libc.umount2(b"/tmp", _MNT_DETACH))


def _cover(path: str, text: str) -> None:
    """Have a file say something else, in this namespace and without leaving a trace."""
    target = os.path.realpath(path)
    if target.startswith(RESOLVERS):  # a link into what has just been hidden
        Path(target).write_text(text)
    elif not Path(target).exists():
        raise CannotStart(
            f"there is no {path} to put our own over; root mends it by `touch {path}`"
        )
    else:
        source = Path("/tmp/covered")  # noqa: S108 - a file system of our own
        source.write_text(text)
        source.chmod(0o444)
        check(libc.mount(bytes(source), target.encode(), None, _MS_BIND, None))
        source.unlink()
