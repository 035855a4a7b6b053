"""Accepting connections through the hub: no task, no transport of asyncio's, one call a connection.

Running out of descriptors stops the accepting for a moment, is said once, and goes on by itself.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable

from wraith.streams.hub import READ, running_hub
from wraith.streams.log_line import log_event
from wraith.streams.socket_stream import SocketStream

_log = logging.getLogger(__name__)

AT_ONCE = 64
"""Connections taken in one go, so that a flood of them leaves the others their turn."""

PAUSE = 1.0
"""Seconds without accepting after the system had no descriptor for us."""

_INHERITS_NODELAY = sys.platform == "linux"
"""Linux gives an accepted socket the options of its listener (tcp(7)): a call saved for each."""

Factory = Callable[[], asyncio.Protocol]


class SocketAcceptor:
    """Accepts on one listening, non-blocking socket, which it owns from now on."""

    def __init__(self, sock: socket.socket, factory: Factory) -> None:
        self._sock = sock
        self._factory = factory
        self._hub = running_hub()
        self._pause: asyncio.TimerHandle | None = None
        if _INHERITS_NODELAY and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()

    def __repr__(self) -> str:
        state = "paused" if self._pause is not None else "open"
        return f"<SocketAcceptor {'closed' if self._sock.fileno() < 0 else state}>"

    def _watch(self) -> None:
        self._pause = None
        self._hub.add(self._sock.fileno(), self._ready, READ)

    def _ready(self, _events: int) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._out_of_resources(error)
                return
            self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            if not _INHERITS_NODELAY and sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            SocketStream(sock, self._factory(), self._hub)
        except OSError:
            sock.close()  # gone while it was greeted
        except Exception as error:  # the end of this connection, and of no other
            sock.close()
            context = {"message": "a connection could not be greeted", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _out_of_resources(self, error: OSError) -> None:
        reason = error.strerror or "no resources"
        log_event(_log, logging.ERROR, "accepting paused", reason=reason, seconds=PAUSE)
        self._hub.remove(self._sock.fileno())
        self._pause = asyncio.get_running_loop().call_later(PAUSE, self._watch)

    def close(self) -> None:
        """Stop accepting; connections already accepted live on."""
        if self._sock.fileno() < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._hub.remove(self._sock.fileno())
        self._sock.close()
