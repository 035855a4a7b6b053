"""Names that only one process can resolve: a private `/etc/hosts` in a mount namespace.

    test process ── cannot resolve only-there.test
        └── server ── its own /etc/hosts: only-there.test is 127.77.88.99

Without root, a user namespace lends the right to mount, and a second one inside it gives the
process its own user id back, since `sshd` behaves differently when it believes to be root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from interop.peers.tools import require_tool

_MOUNT_AND_RUN = 'mount --bind "$0" /etc/hosts && exec "$@"'


def with_private_hosts(
    command: Sequence[str | Path], hosts: Mapping[str, str], folder: Path
) -> list[str | Path]:
    """Wrap a command so that it alone resolves these names; the process id stays the same."""
    if not hosts:
        return list(command)
    table = folder / "hosts"
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in hosts.items())]
    table.write_text("\n".join(lines) + "\n")
    return [*_wrapper(table), *command]


def _wrapper(table: Path) -> list[str | Path]:
    unshare = require_tool("unshare")
    wrapper: list[str | Path]
    if os.getuid() == 0:
        wrapper = [unshare, "-m", "--", "sh", "-c", _MOUNT_AND_RUN, table]
    else:
        own: list[str | Path] = [
            unshare,
            "-U",
            f"--map-user={os.getuid()}",
            f"--map-group={os.getgid()}",
        ]
        wrapper = [unshare, "-r", "-m", "--", "sh", "-c", _MOUNT_AND_RUN, table, *own]
    trial = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    if trial.returncode != 0:
        reason = f"no private /etc/hosts here: {trial.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return wrapper
