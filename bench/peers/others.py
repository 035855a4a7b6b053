"""Rivals: what else people use to carry a SOCKS5 proxy through one connection."""

from __future__ import annotations

import subprocess

from bench.peers.base import Tunnel, program
from bench.peers.openssh import OpenSSHAes, ssh_argv, start_sshd
from bench.processes import free_port, wait_for_port

_STUNNEL = """\
foreground = yes
pid =
debug = err
[ssh]
client = {client}
accept = 127.0.0.1:{accept}
connect = 127.0.0.1:{connect}
{cert}
"""


class StunnelSSH(Tunnel):
    """OpenSSH inside TLS, the classic way: stunnel on both sides."""

    name = "stunnel+ssh"
    note = "ssh -D with aes128-gcm, inside stunnel"

    @classmethod
    def missing(cls) -> str | None:
        if not program("stunnel"):
            return "not installed (apt: stunnel4)"
        return OpenSSHAes.missing()

    def start_server(self) -> int:
        sshd, argv = start_sshd(self.directory, self.server)
        self.note_command(argv)
        pem = self.directory / "tls.pem"
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", str(pem), "-out", str(self.directory / "cert.pem")]
        subprocess.run(
            ["openssl", "req", "-x509", *new_key, *files, "-days", "2", "-subj", "/CN=bench"],
            check=True,
            capture_output=True,
        )
        with pem.open("a") as both:
            both.write((self.directory / "cert.pem").read_text())
        port = free_port()
        self.server.spawn(self._stunnel("server", port, sshd, f"cert = {pem}"))
        wait_for_port(port, self.server)
        return port

    def launch_client(self, port: int) -> None:
        near = free_port()
        self.client.spawn(self._stunnel("client", near, port, "verifyChain = no"))
        wait_for_port(near, self.client)
        self.socks_port = free_port()
        argv = ssh_argv(self.directory, near, self.socks_port, OpenSSHAes.cipher)
        self.client.spawn(self.note_command(argv))

    def _stunnel(self, side: str, accept: int, connect: int, cert: str) -> list[str]:
        config = self.directory / f"stunnel-{side}.conf"
        client = "yes" if side == "client" else "no"
        config.write_text(_STUNNEL.format(client=client, accept=accept, connect=connect, cert=cert))
        return self.note_command([program("stunnel") or "", str(config)])


class Chisel(Tunnel):
    """SSH over WebSocket over HTTP, in Go."""

    name = "chisel"
    note = "SSH in WebSocket, Go"

    @classmethod
    def missing(cls) -> str | None:
        return None if program("chisel") else "not installed (go: github.com/jpillora/chisel)"

    def start_server(self) -> int:
        port = free_port()
        argv = [program("chisel") or "", "server", "--host", "127.0.0.1", "--port", str(port)]
        self.server.spawn(self.note_command([*argv, "--socks5"]))
        wait_for_port(port, self.server)
        return port

    def launch_client(self, port: int) -> None:
        self.socks_port = free_port()
        where = [f"http://127.0.0.1:{port}", f"127.0.0.1:{self.socks_port}:socks"]
        self.client.spawn(self.note_command([program("chisel") or "", "client", *where]))


class Wstunnel(Tunnel):
    """A WebSocket a connection, inside TLS, in Rust."""

    name = "wstunnel"
    note = "WebSocket in TLS, Rust"

    @classmethod
    def missing(cls) -> str | None:
        return None if _wstunnel() else "not installed (--install-peers)"

    def start_server(self) -> int:
        port = free_port()
        self.server.spawn(self.note_command([_wstunnel(), "server", f"wss://127.0.0.1:{port}"]))
        wait_for_port(port, self.server)
        return port

    def launch_client(self, port: int) -> None:
        self.socks_port = free_port()
        listen = f"socks5://127.0.0.1:{self.socks_port}"
        argv = [_wstunnel(), "client", "-L", listen, f"wss://127.0.0.1:{port}"]
        self.client.spawn(self.note_command(argv))


class Sshuttle(Tunnel):
    """Always missing; named so that nobody wonders."""

    name = "sshuttle"
    note = "transparent proxy over ssh"

    @classmethod
    def missing(cls) -> str | None:
        return "not a SOCKS5 proxy: it redirects by firewall rules, as root, and never on loopback"


def _wstunnel() -> str:
    """Its package builds the program under another name than its releases."""
    return program("wstunnel") or program("wstunnel-cli") or ""
