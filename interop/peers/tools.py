"""Which programs are here, and the environment that they run in."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

_OURS = Path(sys.executable).parent
"""Console scripts of this Python's environment: `wraith`, `ssh-audit`."""

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_tool(name: str) -> Path | None:
    """Find a program beside this Python, then on the system (`sbin` included)."""
    found = shutil.which(name, path=f"{_OURS}:{_SYSTEM_PATH}:{os.environ.get('PATH', '')}")
    return Path(found) if found else None


def require_tool(name: str) -> Path:
    """Find a program, or skip the story; in CI a missing program is a failure."""
    found = find_tool(name)
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed, and CI must run this story")
    pytest.skip(f"{name} is not installed")


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """Make an environment in which nobody's agent, proxy, configuration or locale is visible."""
    for folder in ("tmp", "run", "state"):
        (home / folder).mkdir(mode=0o700, exist_ok=True)
    return {
        "PATH": f"{_OURS}:{_SYSTEM_PATH}",
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "WRAITH_STATE_DIR": str(home / "state"),
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **extra,
    }
