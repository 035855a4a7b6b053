"""Files that are there whole or not at all, and that nobody else may read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600; never over one that is there.

    Raises `FileExistsError` or another `OSError`.
    """
    scratch = _write_beside(path, data)
    try:
        os.link(scratch, path)  # unlike a rename, this fails if the name is taken
    finally:
        scratch.unlink()


def replace_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600, in place of one that may be there. Raises `OSError`."""
    scratch = _write_beside(path, data)
    try:
        scratch.replace(path)
    except BaseException:
        scratch.unlink()
        raise


def _write_beside(path: Path, data: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    return Path(name)
