"""`--setup`: install the peers that this machine can install.

System packages come from apt, as root; everything else goes into `bench/out/peers`, which can be
deleted at any time. What fails is said, and the peer is then named as missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bench.native import OUT

PEERS = OUT / "peers"
_PACKAGES = {
    "ssh": "openssh-client",
    "/usr/sbin/sshd": "openssh-server",
    "microsocks": "microsocks",
    "/usr/sbin/danted": "dante-server",
    "stunnel": "stunnel4",
    "openssl": "openssl",
}
_CHISEL = "github.com/jpillora/chisel@latest"
# Not `cargo install wstunnel`: on crates.io that name is another project.
_WSTUNNEL = "https://github.com/erebe/wstunnel"


def install(*, long_compiles: bool) -> None:
    """Install what is missing; never raises for a peer that cannot be had."""
    PEERS.mkdir(parents=True, exist_ok=True)
    _apt([package for name, package in _PACKAGES.items() if not shutil.which(name)])
    if not (PEERS / "chisel").exists():
        _try(["go", "install", _CHISEL], {"GOBIN": str(PEERS)})
    if long_compiles and not (PEERS / "bin" / "wstunnel-cli").exists():
        where = ["--git", _WSTUNNEL, "--root", str(PEERS)]
        _try(["cargo", "install", "--locked", *where, "wstunnel-cli"], {})


def _apt(packages: list[str]) -> None:
    if not packages:
        return
    if os.getuid() != 0 or not shutil.which("apt-get"):
        print(f"as root: apt-get install {' '.join(packages)}")
        return
    _try(
        ["apt-get", "install", "-y", "--no-install-recommends", *packages],
        {"DEBIAN_FRONTEND": "noninteractive"},
    )


def _try(argv: list[str], environment: dict[str, str]) -> None:
    print("$", " ".join(argv), flush=True)
    if not shutil.which(argv[0]):
        print(f"  {argv[0]} is not installed")
        return
    done = subprocess.run(argv, env={**os.environ, **environment}, cwd=Path("/"), check=False)
    if done.returncode != 0:
        print(f"  that failed (exit code {done.returncode}); the peer will be named as missing")
