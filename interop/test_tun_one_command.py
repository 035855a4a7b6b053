"""`wraith-tun --unshare`: one command in a network that has only the tunnel, without root.

test process ── wraith serve ◄── wraith connect ◄── wraith-tun ◄── (namespace: the command)
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGABRT, SIGHUP, SIGINT, SIGKILL, SIGSEGV, SIGTERM, Signals

import pytest

from interop.peers.alley import Alley
from interop.peers.origins import Digest
from interop.peers.process import Process, descendants, wait_until
from interop.peers.roles import Address, Pair, ServerAsk
from interop.peers.shim import NOBODY, require_root, shim, users
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool
from interop.peers.web import PAGE, Web

pytestmark = pytest.mark.timeout(120)

THERE = "only-there.test"


@dataclass
class WebAlley(Alley):
    """With a web server at its far end."""

    web: Web


@pytest.fixture(scope="module")
def proxy() -> Iterator[Address]:
    """A tunnel whose server alone knows a name."""
    with Stage() as stage:
        ask = ServerAsk(hosts={THERE: "127.0.0.1"})
        yield stage.tunnel(Pair("wraith", "wraith"), ask).client.socks


@pytest.fixture(params=users())
def alley(request: pytest.FixtureRequest, proxy: Address, stage: Stage) -> Iterator[WebAlley]:
    with Web(stage.home("web")) as web:
        web.add_page()
        yield WebAlley(stage, request.param, proxy, web)


class TestTheCommand:
    def test_reaches_a_name_that_only_the_server_knows(self, alley: WebAlley) -> None:
        done = alley.run("curl", "-sS", alley.web.url("page.txt", THERE))
        assert (done.stdout, done.stderr, done.returncode) == (PAGE, "", 0)

    @pytest.mark.parametrize("code", [0, 1, 7, 255])
    def test_ends_with_its_own_exit_code(self, alley: WebAlley, code: int) -> None:
        assert alley.run("sh", "-c", f"exit {code}").returncode == code

    @pytest.mark.parametrize("number", [SIGHUP, SIGINT, SIGABRT, SIGKILL, SIGSEGV, SIGTERM])
    def test_that_is_killed_ends_as_a_shell_would_say_it(
        self, alley: WebAlley, number: Signals
    ) -> None:
        done = alley.run("sh", "-c", f"ulimit -c 0; kill -{number} $$")
        assert (done.returncode, done.stderr) == (128 + number, "")

    def test_that_is_not_there_ends_with_127_and_a_reason(self, alley: WebAlley) -> None:
        done = alley.run("no-such-program")
        assert done.returncode == 127
        assert (
            done.stderr == "wraith-tun: no-such-program cannot be run: No such file or directory\n"
        )
        assert alley.run("/etc/passwd").returncode == 126

    def test_has_no_capability_and_can_get_none(self, alley: WebAlley) -> None:
        status = alley.sh("cat /proc/self/status")
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert f"{kind}:\t{0:016x}" in status
        assert "NoNewPrivs:\t1" in status

    def test_stays_the_same_user_also_in_a_program_of_root_s(self, alley: WebAlley) -> None:
        """Set-uid, as `sudo` and `mount` are."""
        require_root()
        alley.stage.folder.chmod(0o711)
        program = alley.stage.folder / "id"
        shutil.copy(require_tool("id"), program)
        program.chmod(0o4755)
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        assert "euid=0" in subprocess.check_output([*become, program], text=True)
        assert "euid" not in alley.say(program)

    def test_is_the_same_user_in_the_same_folder_with_the_same_words(self, alley: WebAlley) -> None:
        uid = 0 if alley.user == "root" else NOBODY if os.getuid() == 0 else os.getuid()
        said = alley.sh('echo "$(id -u) $(pwd) $FRUIT"', FRUIT="quince")
        assert said == f"{uid} / quince\n"

    def test_cannot_change_its_network(self, alley: WebAlley) -> None:
        done = alley.run("ip", "link", "add", "type", "dummy")
        assert "not permitted" in done.stderr

    def test_inherits_no_descriptor_and_no_secret(self, alley: WebAlley) -> None:
        said = alley.sh("ls /proc/self/fd | wc -l; env", WRAITH_TUN_SOCKS5_AUTH="user:secret")
        assert said.startswith("4\n"), "the three usual ones, and that of the listing"
        assert "secret" not in said

    def test_is_told_to_end_by_sigterm(self, alley: WebAlley) -> None:
        process = alley.start(
            "sh", "-c", 'trap "exit 9" TERM; echo up; while :; do sleep 0.05; done'
        )
        process.wait_for_log(lambda log: "up" in log)
        process.signal(SIGTERM)
        assert process.wait() == 9


class TestNames:
    def test_are_answered_here_over_udp_and_tcp_whoever_is_asked(self, alley: WebAlley) -> None:
        for option in ("", "+tcp", "@192.0.2.53", "+tcp @192.0.2.53"):
            said = alley.sh(f"dig +short +tries=1 {option} {THERE}")
            assert said.startswith(("198.18.", "198.19.")), option

    def test_are_found_by_the_c_library_too(self, alley: WebAlley) -> None:
        assert alley.sh(f"getent ahostsv4 {THERE}").startswith(("198.18.", "198.19."))

    def test_several_queries_on_one_connection(self, alley: WebAlley) -> None:
        said = alley.sh("dig +tcp +keepopen +short a.test b.test c.test")
        assert len(set(said.split())) == 3

    def test_of_an_address_nobody_was_given_lead_nowhere(self, alley: WebAlley) -> None:
        done = alley.run("curl", "-sS", "http://198.19.77.77/")
        assert done.returncode == 7

    def test_may_be_left_alone(self, alley: WebAlley) -> None:
        said = alley.run("cat", "/etc/resolv.conf", options=["--dns", "off"]).stdout
        assert said == Path("/etc/resolv.conf").read_text()

    def test_cannot_be_asked_of_services_outside(self, alley: WebAlley) -> None:
        folder = Path("/run/nscd")
        if os.getuid() != 0 or folder.exists():
            pytest.skip("the story needs a service's folder that it may make")
        folder.mkdir()
        try:
            with socket.socket(socket.AF_UNIX) as service:
                service.bind(str(folder / "socket"))
                assert alley.sh("ls -A /run/nscd") == ""
        finally:
            (folder / "socket").unlink()
            folder.rmdir()


class TestErrorsAreTrue:
    """What the far side says, in milliseconds, and not a connection that opens and dies."""

    ASK = (
        "import socket, sys, time\n"
        "begun = time.monotonic()\n"
        "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n"
        "except OSError as error: print(type(error).__name__, error.errno)\n"
        "assert time.monotonic() - begun < 5\n"
    )

    def ask(self, alley: WebAlley, host: str, port: int) -> str:
        done = alley.run("python3", "-c", self.ASK, host, str(port))
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[0]

    def test_a_port_that_is_closed_is_refused(self, alley: WebAlley) -> None:
        assert self.ask(alley, THERE, 9) == "ConnectionRefusedError"

    def test_a_proxy_that_has_gone_is_no_network(self, alley: WebAlley) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        proxy = Address(*listener.getsockname())
        words = shim(
            alley.stage, alley.user, proxy, "--unshare",
            command=["sh", "-c", "read go; python3 -c \"$0\" 192.0.2.1 80", self.ASK],
        )  # fmt: skip
        child = subprocess.Popen(
            words,
            env=clean_environment(alley.stage.home("shim")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with listener, listener.accept()[0] as stream:
            stream.recv(3)
            stream.sendall(b"\5\0")
            listener.close()
        assert child.communicate("go\n", timeout=30)[0].split() == ["OSError", "101"]


class TestTransfers:
    def test_both_ways_whole(self, alley: WebAlley, far_digest: Digest) -> None:
        path, digest = alley.web.add_big_file()
        said = alley.sh(f"curl -sS {alley.web.url(path, THERE)} | sha256sum")
        assert said.split()[0] == digest

    def test_five_hundred_at_once(self, alley: WebAlley) -> None:
        alley.web._server.socket.listen(1024)
        config = f'url = "{alley.web.url("page.txt", THERE)}"\noutput = /dev/null\n' * 500
        wants = alley.stage.folder / "curl.config"
        wants.write_text(config)
        wants.chmod(0o644)
        said = alley.sh(
            f"curl -sS --no-keepalive --parallel --parallel-immediate --parallel-max 300"
            f" -w '%{{http_code}}\\n' -K {wants} | sort | uniq -c"
        )
        assert said.split() == ["500", "200"]

    def test_a_reader_that_sleeps_still_gets_all(self, alley: WebAlley) -> None:
        """The far side ended long ago; what our kernel still holds must not be lost."""
        path, digest = alley.web.add_big_file(8_000_000)
        said = alley.sh(
            f"curl -sS --limit-rate 20M {alley.web.url(path, THERE)} | (sleep 4; sha256sum)"
        )
        assert said.split()[0] == digest


class TestEitherHalfIsKilled:
    def rest(self, process: Process) -> list[int]:
        return [pid for pid in descendants(process.pid) if Path(f"/proc/{pid}").exists()]

    def test_the_command_ends_the_shim(self, alley: WebAlley) -> None:
        process = alley.start("sh", "-c", "echo up; exec sleep 60")
        process.wait_for_log(lambda log: "up" in log)
        (command,) = [pid for pid in self.rest(process) if _name(pid) == "sleep"]
        os.kill(command, SIGKILL)
        assert process.wait() == 137

    def test_the_shim_ends_the_command(self, alley: WebAlley) -> None:
        process = alley.start("sh", "-c", "echo up; exec sleep 60")
        process.wait_for_log(lambda log: "up" in log)
        family = self.rest(process)
        process.signal(SIGKILL)
        process.wait()
        wait_until(lambda: not any(map(_alive, family)), 5, "the command has ended")

    def test_what_survives_has_only_loopback(self, alley: WebAlley) -> None:
        """A grandchild is nobody's to kill; it must not come out into the open."""
        survivor = (
            'setsid sh -c "echo \\$\\$; sleep 1.5; cat /proc/net/dev; echo over" & exec sleep 60'
        )
        process = alley.start("sh", "-c", survivor)
        process.wait_for_log(lambda log: log.strip() != "")
        process.signal(SIGKILL)
        process.wait()
        wait_until(lambda: "over" in process.log, 10, "the survivor has looked")
        links = [line.split(":")[0].strip() for line in process.log.splitlines() if ":" in line]
        assert links == ["lo"]

    def test_twenty_times_at_any_moment_and_nothing_is_left(self, alley: WebAlley) -> None:
        for number in range(20):
            process = alley.start("sleep", "30")
            time.sleep(0.02 * number)
            family = [process.pid, *self.rest(process)]
            process.signal(SIGKILL)
            process.wait()
            wait_until(lambda: not any(map(_alive, family)), 5, "all have ended")  # noqa: B023
        assert not Path("/sys/class/net/wraith0").exists()


def test_ctrl_c_reaches_the_command_and_its_code_counts(alley: WebAlley) -> None:
    process = alley.start("sh", "-c", 'trap "exit 3" INT; echo up; while :; do sleep 0.05; done')
    process.wait_for_log(lambda log: "up" in log)
    process.signal_family(SIGINT)
    assert process.wait() == 3


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
