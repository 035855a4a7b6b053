"""OpenSSH: a private `sshd` on loopback with keys made for the run, and `ssh -N -D`."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

from bench.peers.base import Tunnel, program
from bench.processes import Processes, free_port, wait_for_port

_SSHD = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/identity.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel ERROR
MaxStartups 1000
PerSourceMaxStartups none
"""


def make_key(path: Path) -> None:
    """An Ed25519 key pair without a passphrase: `path` and `path.pub`."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(path)], check=True
    )


def fingerprint_of(public: Path) -> str:
    """`SHA256:…` of a public key."""
    said = subprocess.run(["ssh-keygen", "-l", "-f", str(public)], capture_output=True, check=True)
    return said.stdout.decode().split()[1]


def sshd_program() -> str | None:
    """`sshd` insists on being started by its full path, and often is not on PATH."""
    return program("sshd") or next(
        (path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if os.access(path, os.X_OK)),
        None,
    )


def start_sshd(directory: Path, server: Processes) -> tuple[int, list[str]]:
    """Start a private sshd with keys in `directory`; its port and its command."""
    make_key(directory / "host_key")
    make_key(directory / "identity")
    port = free_port()
    config = directory / "sshd_config"
    config.write_text(_SSHD.format(port=port, directory=directory))
    host_key = (directory / "host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"bench {host_key}")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # root's sshd refuses to run without it
    argv = [sshd_program() or "", "-D", "-e", "-f", str(config)]
    server.spawn(argv)
    wait_for_port(port, server)
    return port, argv


def ssh_argv(directory: Path, port: int, socks_port: int, cipher: str | None) -> list[str]:
    """The command of the client."""
    settings = {
        "HostKeyAlias": "bench",
        "UserKnownHostsFile": directory / "known_hosts",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "ExitOnForwardFailure": "yes",
        "LogLevel": "ERROR",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    chosen = ["-c", cipher] if cipher else []
    identity = ["-i", str(directory / "identity")]
    where = ["-p", str(port), f"{getpass.getuser()}@127.0.0.1"]
    forward = ["-N", "-D", f"127.0.0.1:{socks_port}"]
    return ["ssh", "-F", "none", *options, *identity, *chosen, *forward, *where]


class _OpenSSH(Tunnel):
    cipher: str | None = None

    @classmethod
    def missing(cls) -> str | None:
        if not program("ssh") or not program("ssh-keygen"):
            return "not installed (apt: openssh-client)"
        return None if sshd_program() else "not installed (apt: openssh-server)"

    def start_server(self) -> int:
        port, argv = start_sshd(self.directory, self.server)
        self.note_command(argv)
        return port

    def host_key_fingerprint(self) -> str:
        return fingerprint_of(self.directory / "host_key.pub")

    def launch_client(self, port: int) -> None:
        self.socks_port = free_port()
        argv = ssh_argv(self.directory, port, self.socks_port, self.cipher)
        self.client.spawn(self.note_command(argv))


class OpenSSHDefault(_OpenSSH):
    """As installed."""

    name = "OpenSSH default"
    note = "ssh -D, the cipher that OpenSSH chooses (chacha20-poly1305)"


class OpenSSHAes(_OpenSSH):
    """With the fastest cipher it has on this kind of machine."""

    name = "OpenSSH aes128-gcm"
    note = "ssh -D with aes128-gcm"
    cipher = "aes128-gcm@openssh.com"
