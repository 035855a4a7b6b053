"""The systems measured. A peer is named in tables and on the command line by its `name`."""

from __future__ import annotations

from bench.peers.base import Peer
from bench.peers.loops import WraithAsyncio, WraithUvloop
from bench.peers.openssh import OpenSSHAes, OpenSSHDefault
from bench.peers.others import Chisel, Sshuttle, StunnelSSH, Wstunnel
from bench.peers.plain import Dante, Direct, Microsocks
from bench.peers.wraith import Wraith, WraithIroh, WraithTLS

__all__ = ["ALL", "BASES", "ON_REQUEST", "QUICK", "Direct", "Peer", "Wraith", "WraithIroh", "find"]

# In the order of the tables: the limits, the references, Wraith, the others.
ALL: tuple[type[Peer], ...] = (
    Direct,
    Microsocks,
    Dante,
    OpenSSHDefault,
    OpenSSHAes,
    Wraith,
    WraithTLS,
    WraithIroh,
    StunnelSSH,
    Chisel,
    Wstunnel,
    Sshuttle,
)
# Measured only when they are asked for.
ON_REQUEST: tuple[type[Peer], ...] = (WraithAsyncio, WraithUvloop)
QUICK: tuple[type[Peer], ...] = (Direct, Microsocks, OpenSSHDefault, OpenSSHAes, Wraith)

# What ratios are taken against.
BASES = (OpenSSHAes.name, OpenSSHDefault.name)


def find(word: str) -> type[Peer]:
    """The peer called `word`, or the only one whose name begins with it."""
    wanted = word.lower().replace("-", " ")
    exact = [peer for peer in (*ALL, *ON_REQUEST) if peer.name.lower().replace("-", " ") == wanted]
    near = [
        peer
        for peer in (*ALL, *ON_REQUEST)
        if peer.name.lower().replace("-", " ").startswith(wanted)
    ]
    found = exact or near
    if len(found) != 1:
        names = ", ".join(repr(peer.name) for peer in (*ALL, *ON_REQUEST))
        raise ValueError(f"{word!r} names no single peer; there are {names}")
    return found[0]
