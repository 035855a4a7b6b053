"""The way back to the host: a Unix socket in a directory that only its user may enter.

The host makes the directory and listens there. We connect once for each stream and begin with a
token that the host made for this stream and no other. Whichever of the two ends first removes the
directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

from wraith.errors import ChannelError
from wraith.streams.socket_stream import open_socket_stream

SOCKET_NAME = "s"
TOKEN_SIZE = 16
BUFFER = 512 * 1024
"""Bytes that the kernel holds in each direction: more than a turn of either loop moves."""


class HostSocket:
    """Where the host listens."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        return f"<HostSocket {self._directory}>"

    async def connect(self, token: bytes, protocol: asyncio.Protocol) -> None:
        """Join a protocol to the host's stream of this token. Raises `ChannelError`."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, str(self._directory / SOCKET_NAME))
            await loop.sock_sendall(sock, token)
            await open_socket_stream(sock, protocol)
        except OSError as error:
            sock.close()
            raise ChannelError("the program that asked for the stream does not take it") from error
        except BaseException:
            sock.close()
            raise

    def remove(self) -> None:
        """Remove the socket and the directory, if the host has not done so."""
        with contextlib.suppress(OSError):
            (self._directory / SOCKET_NAME).unlink()
        with contextlib.suppress(OSError):
            self._directory.rmdir()
