"""Where `wraith status` asks: a Unix socket of each client, for its own user alone.

Whoever connects gets the status as one line of JSON, and that is all. The folder is ours with mode
0700 and the socket has 0600; in a folder that anybody else may write there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from wraith.client.status import Status
from wraith.errors import ListenError, WraithError
from wraith.state.folder import runtime_dir
from wraith.streams.listening import Listener, listen
from wraith.values.address import UnixPath

PATIENCE = 2.0
"""Seconds for a client to answer; a stopped one does not."""

_PATTERN = "connect-[0-9]*.sock"

MOST = 1 << 20
"""Bytes of an answer that are read."""


class StatusSocket:
    """The socket of this process; an object to close."""

    def __init__(self, listener: Listener, folder: Path) -> None:
        self._listener = listener
        self._folder = folder

    def __repr__(self) -> str:
        return f"<StatusSocket {self._folder}>"

    def close(self) -> None:
        """Remove the socket, and the folder with the last one in it."""
        self._listener.close()
        with contextlib.suppress(OSError):
            self._folder.rmdir()


async def open_status_socket(status: Callable[[], Status]) -> StatusSocket:
    """Answer with what `status` says. Raises `ListenError` where that cannot be done safely."""
    folder = runtime_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = folder.stat()
    except OSError as error:
        reason = (error.strerror or "it failed").lower()
        raise ListenError(f"the folder {folder} cannot be made: {reason}") from error
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise ListenError(f"the folder {folder} is not this user's alone")
    _clear(folder)
    where = UnixPath(str(folder / f"connect-{os.getpid()}.sock"))
    return StatusSocket(await listen(where, lambda: _Answer(status)), folder)


def _clear(folder: Path) -> None:
    """Remove what killed clients have left; one that still listens is left alone."""
    for path in folder.glob(_PATTERN):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(PATIENCE)
            try:
                asking.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                continue


class _Answer(asyncio.Protocol):
    """Says it, and closes."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(json.dumps(dataclasses.asdict(self._status())).encode() + b"\n")
        transport.close()


def ask_all() -> dict[int, dict[str, object]]:
    """What each running client of this user says, by its process id.

    A socket that a killed client left behind is removed. Raises `WraithError` where the folder
    cannot be looked at.
    """
    found: dict[int, dict[str, object]] = {}
    try:
        paths = sorted(runtime_dir().glob(_PATTERN))
    except OSError as error:
        reason = (error.strerror or "it failed").lower()
        raise WraithError(f"{runtime_dir()} cannot be looked at: {reason}") from error
    for path in paths:
        number = path.stem.removeprefix("connect-")
        answer = _ask(path) if number.isdecimal() else None
        if answer is not None:
            found[int(number)] = answer
    return found


def _ask(path: Path) -> dict[str, object] | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(PATIENCE)
        data = bytearray()
        try:
            asking.connect(str(path))
            while len(data) < MOST and (piece := asking.recv(65536)):
                data += piece
            answer = json.loads(data)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return None
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) else None
