"""Connecting to the first of several addresses that answers (RFC 8305).

The addresses are tried in turn, IPv6 and IPv4 alternating; the next one starts when one has failed
or after a quarter of a second. asyncio has the same inside `create_connection`, but takes a name
and resolves it itself; here the caller has looked at every address, and no other is used.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

ATTEMPT_DELAY = 0.25  # seconds; RFC 8305 section 5, "Connection Attempt Delay"

SockAddr = tuple[Any, ...]


def interleave(
    addresses: Sequence[tuple[socket.AddressFamily, SockAddr]],
) -> list[tuple[socket.AddressFamily, SockAddr]]:
    """The addresses with their families alternating, the first one's family first (section 4)."""
    if not addresses:
        return []
    first = [item for item in addresses if item[0] == addresses[0][0]]
    others = [item for item in addresses if item[0] != addresses[0][0]]
    ordered = []
    while first or others:
        ordered += first[:1] + others[:1]
        first, others = first[1:], others[1:]
    return ordered


async def connect_first(
    addresses: Sequence[tuple[socket.AddressFamily, SockAddr]],
) -> socket.socket:
    """A connected, non-blocking socket to the first address that answers.

    Raises the `OSError` of the first address when none of them does. Cancelled, or done, it leaves
    no other socket open.
    """
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[socket.socket]] = set()
    failures: list[OSError] = []
    waiting = interleave(addresses)
    winner: socket.socket | None = None
    try:
        while waiting or pending:
            if waiting:
                family, address = waiting.pop(0)
                pending.add(loop.create_task(_connect(family, address), name="dial one address"))
            done, pending = await asyncio.wait(
                pending,
                timeout=ATTEMPT_DELAY if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            winner = _first_success(done, failures)
            if winner is not None:
                break
    finally:
        try:
            await _abandon(pending)
        except BaseException:
            if winner is not None:
                winner.close()
            raise
    if winner is None:
        raise failures[0] if failures else OSError("no address to connect to")
    return winner


def _first_success(
    done: set[asyncio.Task[socket.socket]], failures: list[OSError]
) -> socket.socket | None:
    winner: socket.socket | None = None
    for task in done:
        error = task.exception()
        if isinstance(error, OSError):
            failures.append(error)
        elif error is not None:
            raise error
        elif winner is None:
            winner = task.result()
        else:
            task.result().close()
    return winner


async def _abandon(tasks: set[asyncio.Task[socket.socket]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, socket.socket):
            outcome.close()


async def _connect(family: socket.AddressFamily, address: SockAddr) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family == getattr(socket, "AF_UNIX", None):
            # It connects at once or not at all. The loop would wait after EAGAIN (the backlog is
            # full) and take the socket for connected.
            sock.connect(address)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
