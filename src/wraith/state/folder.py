"""Where Wraith keeps the keys and certificates that it made, and the host keys that it has seen."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import platformdirs


def state_dir() -> Path:
    """The platform's state directory for Wraith, or `WRAITH_STATE_DIR`; not created here."""
    override = os.environ.get("WRAITH_STATE_DIR")
    if override:
        return Path(override).expanduser()
    return Path(platformdirs.user_state_dir("wraith"))


def make_state_dir() -> Path:
    """The state directory, made with mode 0700 if it is not there. Raises `OSError`."""
    path = state_dir()
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def runtime_dir() -> Path:
    """Where a running Wraith can be asked, or `WRAITH_RUNTIME_DIR`; not created here."""
    override = os.environ.get("WRAITH_RUNTIME_DIR")
    if override:
        return Path(override).expanduser()
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR it is a folder in /tmp, which is no news for whoever sits there;
        # whether the folder is this user's alone is looked at before it is used.
        warnings.simplefilter("ignore")
        return Path(platformdirs.user_runtime_dir("wraith"))
