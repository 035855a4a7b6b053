"""What `wraith-tun` says when something is missing: one sentence, with what mends it."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL

import pytest

import wraith_tun
from interop.peers.origins import Origin
from interop.peers.roles import Address, ServerAsk
from interop.peers.scripted_socks import ScriptedSocks
from interop.peers.shim import NOBODY, make_node, require_root, run, shim, users
from interop.peers.socks import GENERAL_FAILURE
from interop.peers.stage import Stage
from interop.peers.tools import require_tool
from interop.peers.uplink import HOST, SERVER, Start, Uplink, gone

pytestmark = pytest.mark.timeout(120)

Refusal = Callable[..., str]
"""Why it does not start; it must end with 1 and have said no more than that."""

PROXY = Address("127.0.0.1", 1080)
"""Of a machine with an uplink."""

SOMEBODY = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"

TO_BE_MADE = (
    "/dev/net/tun is for root only here; use sudo, or `chmod 666 /dev/net/tun` for --unshare"
)
LIBRARIES = f"{Path(wraith_tun.__file__).parent.parent}:{Path(pytest.__file__).parent.parent}"
"""For a Python of the system, which this user may run where ours is in somebody's home."""

NO_NODE = "there is no /dev/net/tun; `modprobe tun` as root brings it"
NO_DRIVER = "/dev/net/tun has no driver behind it; `modprobe tun` as root brings it"
NEEDS_ROOT = "a network device needs root here; use sudo, or --unshare for one command"
NO_NAMESPACES = (
    "user namespaces are switched off here; root allows them by "
    "`sysctl user.max_user_namespaces=10000`, and where that exists, "
    "`sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0`"
)


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence; nothing else may have been said or done."""
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.startswith("wraith-tun: ")
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("wraith-tun: ").rstrip("\n")


@pytest.fixture(scope="module", params=["--unshare", "whole system"])
def way(request: pytest.FixtureRequest) -> str:
    """Of running it; with a machine for that."""
    require_root()
    if request.param != "--unshare":
        request.getfixturevalue("uplink")
    return str(request.param)


@pytest.fixture
def refusal(way: str, stage: Stage) -> Refusal:
    """Why neither way of running starts, on a machine of which a script has taken something."""
    make_node()
    if way == "--unshare":
        proxy = stage.enter(ScriptedSocks(lambda _: GENERAL_FAILURE)).address
        enter, options = ["unshare", "-m"], ["--unshare", "--", "true"]
    else:
        proxy = PROXY
        enter, options = ["ip", "netns", "exec", HOST, "unshare", "-m"], ["--bypass", SERVER]

    def refusal(without: str, *more: str, user: str = "root") -> str:
        words = [str(require_tool("wraith-tun")), "--socks5", str(proxy), *more, *options]
        become = SOMEBODY.split() if user == "somebody" else []
        take = f'set -e; {without}; exec "$@"'
        return reason(run(stage, [*enter, "sh", "-c", take, "sh", *become, *words], {}))

    return refusal


class TestTheDevice:
    @staticmethod
    def node(stage: Stage, mode: int, minor: int = 200) -> str:
        """Have another node, in the words of a shell."""
        stage.folder.chmod(0o711)
        node = stage.folder / "node"
        os.mknod(node, stat.S_IFCHR, os.makedev(10, minor))
        node.chmod(mode)
        return f"mount --bind {node} /dev/net/tun"

    @pytest.mark.parametrize("user", ["root", "somebody"])
    def test_is_not_there(self, refusal: Refusal, user: str) -> None:
        assert refusal("mount -t tmpfs none /dev/net", user=user) == NO_NODE

    def test_has_no_driver(self, refusal: Refusal, stage: Stage) -> None:
        assert refusal(self.node(stage, 0o666, minor=254), user="somebody") == NO_DRIVER

    def test_is_for_root_only(self, refusal: Refusal, stage: Stage) -> None:
        assert refusal(self.node(stage, 0o600), user="somebody") == TO_BE_MADE

    def test_has_a_name_that_is_taken(self, refusal: Refusal) -> None:
        taken = "the name lo is in use; choose another with --tun-name"
        assert refusal("true", "--tun-name", "lo") == taken

    def test_is_for_everybody_and_still_needs_root(self, uplink: Uplink, stage: Stage) -> None:
        """Of the whole system: a network device belongs to whoever rules the network."""
        words = ["ip", "netns", "exec", HOST, *shim(stage, "somebody", PROXY, "--bypass", SERVER)]
        assert reason(run(stage, words, {})) == NEEDS_ROOT


class _Says(Origin):
    """Somebody who answers a greeting with always the same, or with silence."""

    def __init__(self, what: bytes) -> None:
        self._what = what
        super().__init__()

    def serve(self, stream: socket.socket) -> None:
        stream.recv(100)
        stream.sendall(self._what)
        while stream.recv(100):
            pass


@pytest.mark.parametrize("how", [["--unshare", "--", "true"], []])
class TestTheServer:
    REMEDY = "start `wraith connect`, or name another with --socks5"

    @staticmethod
    def refusal(stage: Stage, how: list[str], where: Address, *options: str) -> str:
        words = shim(stage, users()[-1], where, *options, *how)
        return reason(run(stage, words, {}))

    def test_is_not_there(self, stage: Stage, how: list[str]) -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            where = Address(*holder.getsockname())
            said = self.refusal(stage, how, where)
        assert said == f"no SOCKS5 server answers at 127.0.0.1 port {where.port}; {self.REMEDY}"

    def test_is_silent(self, stage: Stage, how: list[str]) -> None:
        with _Says(b"") as server:
            said = self.refusal(stage, how, server.address)
        port = server.address.port
        assert said == f"no SOCKS5 server answers at 127.0.0.1 port {port}; {self.REMEDY}"

    def test_is_another_server(self, stage: Stage, how: list[str]) -> None:
        where = stage.server("openssh", ServerAsk()).address
        assert self.refusal(stage, how, where) == (
            f"the server at 127.0.0.1 port {where.port} cannot be used: "
            "it speaks no SOCKS5; name another with --socks5"
        )

    def test_wants_credentials(self, stage: Stage, how: list[str]) -> None:
        with _Says(b"\5\xff") as server:
            said = self.refusal(stage, how, server.address)
        assert said.endswith("used: it wants credentials; give them with --socks5-auth")

    def test_wants_other_credentials(self, stage: Stage, how: list[str]) -> None:
        secret = stage.folder / "secret"
        secret.write_text("user:canary-7b1d\n")
        secret.chmod(0o644)
        with _Says(b"\5\2\1\1") as server:
            said = self.refusal(stage, how, server.address, "--socks5-auth", f"@{secret}")
        assert said.endswith("it does not take our credentials; give others with --socks5-auth")
        assert "canary" not in said


@pytest.mark.parametrize("user", users())
def test_user_namespaces_are_switched_off(stage: Stage, user: str) -> None:
    """In a user namespace whose own limit is none."""
    become = SOMEBODY.split() if (user, os.getuid()) == ("somebody", 0) else []
    off = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    with ScriptedSocks(lambda _: GENERAL_FAILURE) as proxy:
        words = ["python3", "-m", "wraith_tun", "--socks5", str(proxy.address), "--unshare"]
        inner = ["sh", "-c", off, "sh", *words, "--", "true"]
        done = run(stage, [*become, "unshare", "-Ur", *inner], {"PYTHONPATH": LIBRARIES})
    assert reason(done) == NO_NAMESPACES


# What other systems do not have is not there, either; on Windows even less than on macOS.
ELSEWHERE = """
import os, signal, socket, sys
sys.platform, *without = sys.argv.pop(1).split(",")
for name in without:
    sys.modules[name] = None
for module, name in (os, "pidfd_open"), (socket, "AF_NETLINK"), (socket, "SOCK_NONBLOCK"):
    delattr(module, name)
from wraith_tun.__main__ import main
main()
"""


@pytest.mark.parametrize("platform", ["darwin", "win32,fcntl,resource,pwd,grp"])
@pytest.mark.parametrize("words", [[], ["--restore"], ["--unshare", "--", "true"]])
def test_another_system(stage: Stage, platform: str, words: list[str]) -> None:
    done = run(stage, [sys.executable, "-c", ELSEWHERE, platform, *words], {})
    assert reason(done) == "it works on Linux only; elsewhere, point programs at the SOCKS5 port"


def test_a_file_that_ours_would_cover(stage: Stage) -> None:
    require_root()
    words = shim(stage, "root", Address("127.0.0.1", 0), "--unshare", command=["true"])
    with ScriptedSocks(lambda _: GENERAL_FAILURE) as proxy:
        words[words.index("127.0.0.1:0")] = str(proxy.address)
        hidden = 'mount -t tmpfs none /etc && exec "$@"'
        done = run(stage, ["unshare", "-m", "sh", "-c", hidden, "sh", *words], {})
    assert reason(done) == (
        "there is no /etc/resolv.conf to put our own over; "
        "root mends it by `touch /etc/resolv.conf`"
    )


class TestOnAMachineWithAnUplink:
    """Nothing was changed there, as the fixture sees to it."""

    @staticmethod
    def refusal(uplink: Uplink, *options: str, before: str = "") -> str:
        words = ["ip", "netns", "exec", HOST, *before.split(), str(require_tool("wraith-tun"))]
        return reason(run(uplink.stage, [*words, *options], {}))

    def test_the_name_of_the_uplink(self, uplink: Uplink, start: Start) -> None:
        said = self.refusal(uplink, "--tun-name", "up0")
        assert said == "the name up0 is in use; choose another with --tun-name"

    def test_a_bypassed_name_that_nobody_knows(self, uplink: Uplink, start: Start) -> None:
        said = self.refusal(uplink, "--bypass", "nowhere.test")
        assert said == "--bypass nowhere.test: no such name; give its address instead"

    def test_a_second_one(self, uplink: Uplink, start: Start) -> None:
        start()
        for words in ([], ["--tun-name", "other0"], ["--restore"]):
            assert self.refusal(uplink, *words) == "it runs here already; stop that one first"

    def test_root_to_remove_what_is_left(self, uplink: Uplink, start: Start) -> None:
        """Whoever may not remove it is told so; who finds nothing to remove needs no right."""
        shim = start()
        family = shim.family()
        shim.signal_family(SIGKILL)
        shim.wait()
        for pid in family:
            gone(pid)
        said = self.refusal(uplink, "--restore", before=SOMEBODY)
        assert said == "rules cannot be removed (Operation not permitted); this needs root"
        restore = f"{require_tool('wraith-tun')} --restore"
        assert uplink.sh(f"{restore} 2>&1") == ""
        assert uplink.sh(f"{SOMEBODY} {restore} 2>&1") == ""
