"""What systemd asks of a service; nothing happens elsewhere.

It hears how the service stands (sd_notify(3)), and may hand over sockets that it has bound already
(sd_listen_fds(3)): a port below 1024 then needs no privilege, and a restart loses no connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

from wraith.errors import ListenError
from wraith.policy.trusted_proxies import TrustedProxies
from wraith.transports.tcp import InheritedTcpAcceptor

FIRST_DESCRIPTOR = 3


def notify(state: str) -> None:
    """Send `READY=1` or `STOPPING=1` to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.sendto(state.encode(), address)


def notify_reloading() -> None:
    """Say that the files are read again; `READY=1` must follow."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def inherited_acceptors(trusted: TrustedProxies) -> list[InheritedTcpAcceptor]:
    """One acceptor for each socket that was handed over to this process, if any was.

    `trusted` are load balancers that say for whom they connect.

    Raises `ListenError` for one that is no listening TCP socket. What told of them is taken out of
    the environment, so that no child believes that it is meant.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    numbers = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))
    return [InheritedTcpAcceptor(_listening_socket(number), trusted) for number in numbers]


def _listening_socket(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
        sock.set_inheritable(False)
        accepts = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        raise _unusable(descriptor) from None
    if not accepts or sock.family not in (socket.AF_INET, socket.AF_INET6):
        sock.close()
        raise _unusable(descriptor)
    return sock


def _unusable(descriptor: int) -> ListenError:
    return ListenError(
        f"descriptor {descriptor}, handed over by LISTEN_FDS, is no listening TCP socket",
        hint="give the .socket unit a ListenStream= with a port",
    )
