"""`wraith-tun` as a user would start it: as root, or as somebody with no rights at all.

Where `/dev/net/tun` is for root only, a node of the story's own that is for everybody is put over
it, in a mount namespace that only the shim and its command see.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from interop.peers.roles import Address
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool

NOBODY = 65534

_NODE_AND_RUN = 'mount --bind "$0" /dev/net/tun && exec "$@"'


def users() -> list[str]:
    """Who can be played here: only root can be somebody else."""
    return ["root", "somebody"] if os.getuid() == 0 else ["somebody"]


def require_root() -> None:
    """A story about a whole system needs a network of its own; in CI, root is there."""
    if os.getuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must run this story, as root")
        pytest.skip("only root can make the networks of this story")


def shim(
    stage: Stage, user: str, proxy: Address, *options: str, command: Sequence[str | Path] = ()
) -> list[str | Path]:
    """The words of a `wraith-tun`, with everything that lets this user start it."""
    words: list[str | Path] = [require_tool("wraith-tun"), "--socks5", str(proxy), *options]
    words += ["--", *command] if command else []
    if os.getuid() != 0:
        return words
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*with_device(stage), *(become if user == "somebody" else []), *words]


def with_device(stage: Stage) -> list[str | Path]:
    """A wrapper in which `/dev/net/tun` is there for everybody."""
    node = stage.folder / "tun"
    if not node.exists():
        stage.folder.chmod(0o711)
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(10, 200))
        node.chmod(0o666)
    make_node()
    return ["unshare", "-m", "--", "sh", "-c", _NODE_AND_RUN, node]


def make_node() -> None:
    """As root, make the device's node where there is none, as in a container."""
    Path("/dev/net").mkdir(exist_ok=True)
    if not Path("/dev/net/tun").exists():
        os.mknod("/dev/net/tun", stat.S_IFCHR | 0o600, os.makedev(10, 200))


def run(
    stage: Stage, words: Sequence[str | Path], env: Mapping[str, str], within: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run to the end, in a clean environment."""
    return subprocess.run(
        words,
        env=clean_environment(stage.home("shim"), **env),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
