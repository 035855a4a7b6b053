"""A web server with a big hashed file, a small page, a git repository and a package index."""

from __future__ import annotations

import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from interop.peers.roles import ANY_PORT, Address
from interop.peers.transfer import MEGABYTE, blocks

PAGE = "a page from the far side\n"


class Web:
    """Serves a folder; `asked` holds the path and Host header of each request."""

    def __init__(self, folder: Path, place: Address = ANY_PORT) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        handler = functools.partial(_Handler, self.asked, directory=str(folder))
        self._server = ThreadingHTTPServer(place, handler)
        self._server.daemon_threads = False
        self.address = Address(*self._server.server_address[:2])  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str, host: str = "") -> str:
        """The URL of a path; `host` replaces our address by a name for it."""
        return f"http://{host or self.address.host}:{self.address.port}/{path}"

    def add_page(self) -> str:
        """Put a small page there, and return its path."""
        (self.folder / "page.txt").write_text(PAGE)
        return "page.txt"

    def add_big_file(self, size: int = 64 * MEGABYTE) -> tuple[str, str]:
        """Put a big file there, and return its path and its SHA-256 in hexadecimal."""
        digest = hashlib.sha256()
        with (self.folder / "big.bin").open("wb") as file:
            for block in blocks(size):
                digest.update(block)
                file.write(block)
        return "big.bin", digest.hexdigest()


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    def __init__(self, asked: list[tuple[str, str]], *args: object, **kwargs: object) -> None:
        self._asked = asked
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        self._asked.append((self.path, self.headers.get("Host", "") if self.headers else ""))
