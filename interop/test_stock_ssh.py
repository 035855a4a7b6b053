"""A stock `ssh` at a server that forwards and does nothing else.

The oracle here is an `sshd` with `MaxSessions 0`.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.peers import socks
from interop.peers.keys import Key
from interop.peers.openssh import OpensshClient, ssh_command
from interop.peers.origins import Digest, Echo
from interop.peers.process import DidNotStart
from interop.peers.roles import Address, ClientAsk, Server, ServerAsk, free_port
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment
from interop.peers.transfer import MEGABYTE, echo, open_stream

PROMPT = 2.0
"""Seconds within which a request must have been refused."""

TUN_DEVICE = Path("/dev/net/tun")


@dataclass
class Gateway:
    """A server that is up, the key that opens it, and a folder for one `ssh` at a time."""

    server: Server
    key: Key
    home: Path

    def run(self, *words: str | Path, tool: str = "ssh", input: bytes = b"") -> Ended:  # noqa: A002
        """Run `ssh` (or `sftp`) with these words, and time it."""
        begun = time.monotonic()
        run = subprocess.run(
            [*ssh_command(self.server, self.key, self.home, tool), *words],
            env=clean_environment(self.home, DISPLAY="127.0.0.1:99"),
            input=input,
            capture_output=True,
            timeout=30,
            check=False,
        )
        return Ended(run.returncode, run.stdout, run.stderr.decode(), time.monotonic() - begun)


@dataclass
class Ended:
    """How a program ended."""

    exit_code: int
    output: bytes
    errors: str
    seconds: float


@pytest.fixture
def gateway(stage: Stage, server_role: str) -> Gateway:
    key = stage.key()
    return Gateway(
        stage.server(server_role, ServerAsk(authorized=[key.public])), key, stage.home("ssh")
    )


class TestStandardInputAndOutput:
    """`ssh -W`: one connection, on stdin and stdout."""

    def test_carries_bytes_and_both_endings(self, gateway: Gateway, far_echo: Echo) -> None:
        ended = gateway.run("-W", f"{far_echo.address}", "127.0.0.1", input=b"echo " * 100_000)
        assert (ended.exit_code, ended.output) == (0, b"echo " * 100_000), ended.errors
        assert far_echo.ends.get(timeout=5) == "eof"

    def test_carries_200_megabytes(self, gateway: Gateway, far_digest: Digest) -> None:
        wanted = (200 * MEGABYTE).to_bytes(8, "big")
        ended = gateway.run("-W", f"{far_digest.address}", "127.0.0.1", input=wanted)
        assert len(ended.output) == 32 + 200 * MEGABYTE + 32

    def test_leads_to_a_second_ssh(self, stage: Stage, gateway: Gateway) -> None:
        inner = Gateway(
            stage.server("openssh", ServerAsk(authorized=[gateway.key.public], sessions=True)),
            gateway.key,
            stage.home("ssh"),
        )
        outer = " ".join(map(str, ssh_command(gateway.server, gateway.key, gateway.home)))
        jump = f"ProxyCommand={outer} -W %h:%p {gateway.server.address.host}"
        ended = inner.run("-o", jump, "127.0.0.1", "echo hello")
        assert ended.output == b"hello\n", ended.errors


@dataclass
class Shared:
    """One SSH connection that several `ssh` processes share, with a SOCKS port that must live."""

    gateway: Gateway
    client: OpensshClient
    control: Path
    far: Address

    def ask(self, *words: str, tool: str = "ssh") -> Ended:
        """Ask for something over the shared connection, then see that its forwards still work."""
        ended = self.gateway.run("-o", f"ControlPath={self.control}", *words, tool=tool)
        assert self.client.process.running
        with socks.connect(self.client.socks, self.far) as stream:
            echo(stream)
        return ended


@pytest.fixture
def shared(stage: Stage, gateway: Gateway, far_echo: Echo) -> Shared:
    control = stage.folder / "control"
    client = stage.client(
        "openssh",
        gateway.server,
        gateway.key,
        ClientAsk(extra=["-M", "-o", f"ControlPath={control}"]),
    )
    assert isinstance(client, OpensshClient)
    return Shared(gateway, client, control, far_echo.address)


class TestRefusedRequests:
    """Whatever is no forward is refused promptly, and the connection's forwards live on."""

    @pytest.mark.parametrize(
        ("tool", "words"),
        [
            pytest.param("ssh", ["host"], id="shell"),
            pytest.param("ssh", ["host", "echo", "never"], id="exec"),
            pytest.param("ssh", ["-s", "host", "sftp"], id="subsystem"),
            pytest.param("sftp", ["host"], id="sftp"),
            pytest.param("ssh", ["-tt", "host"], id="pty"),
            pytest.param("ssh", ["-A", "host"], id="agent"),
            pytest.param("ssh", ["-X", "host"], id="x11"),
        ],
    )
    def test_sessions(self, shared: Shared, tool: str, words: list[str]) -> None:
        ended = shared.ask(*words, tool=tool)
        assert ended.exit_code != 0
        assert ended.output == b""
        assert ended.seconds < PROMPT

    def test_several_in_a_row(self, shared: Shared) -> None:
        for _ in range(15):
            assert shared.ask("host", "echo", "never").exit_code != 0

    @pytest.mark.parametrize(
        "words", [["echo", "never"], ["-tt"], ["-A"], ["-X"]], ids=["exec", "pty", "agent", "x11"]
    )
    def test_a_session_on_a_connection_of_its_own(self, gateway: Gateway, words: list[str]) -> None:
        options = [word for word in words if word.startswith("-")]
        command = [word for word in words if not word.startswith("-")]
        ended = gateway.run(*options, "127.0.0.1", *command)
        assert ended.exit_code == 255
        assert ended.seconds < PROMPT

    @pytest.mark.skipif(not TUN_DEVICE.exists(), reason="no /dev/net/tun")
    def test_a_tun_device(self, stage: Stage, gateway: Gateway, far_echo: Echo) -> None:
        ask = ClientAsk(extra=["-o", "ExitOnForwardFailure=no", "-w", "any:any"])
        client = stage.client("openssh", gateway.server, gateway.key, ask)
        if "Tunnel device open failed" in client.process.log:
            pytest.skip("this user may not open a tun device")
        client.process.wait_for_log(lambda log: "open failed" in log, PROMPT)
        with socks.connect(client.socks, far_echo.address) as stream:
            echo(stream)


def test_only_public_keys_are_offered_as_a_way_in(gateway: Gateway) -> None:
    ended = gateway.run("-o", "PubkeyAuthentication=no", "127.0.0.1")
    assert "Permission denied (publickey)" in ended.errors


def test_a_remote_forward_does_not_leave_loopback(
    stage: Stage, gateway: Gateway, far_echo: Echo
) -> None:
    everywhere = Address("0.0.0.0", free_port())
    ask = ClientAsk(remote=[(everywhere, far_echo.address)])
    with suppress(DidNotStart):  # a refusal is fine; sshd grants it, and binds loopback instead
        stage.client("openssh", gateway.server, gateway.key, ask)
    with pytest.raises(ConnectionRefusedError):
        open_stream(Address("127.0.0.2", everywhere.port))
