"""Real upstream proxies, SOCKS5 and HTTP, with and without credentials.

All that can forbid anything forbid one address, so that a story meets a refusal of their own.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.peers.process import Process, wait_until
from interop.peers.roles import Address, free_port
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool

USER, PASSWORD = "canary-user-5c1e", "canary-pass-9d2f"

FORBIDDEN = Address("127.9.9.9", 9)
"""What those that can forbid anything do not allow."""

_NCSA_AUTH = "/usr/lib/squid/basic_ncsa_auth"


@dataclass(frozen=True)
class Kind:
    """A program, what it speaks, and what it is able to do."""

    name: str
    scheme: str
    command: Callable[[Path, Address, bool], Sequence[str | Path]]
    """From its folder, where to listen, and whether it demands credentials."""

    takes_credentials: bool = True
    forbids: bool = True
    """Whether it does not allow `FORBIDDEN`."""

    tells_refused: bool = True
    """Whether it says of a closed port that the connection was refused."""

    half_closes: bool = True
    """Whether one direction may end before the other."""

    def __str__(self) -> str:
        return self.name


class Proxy:
    """One of them, running; it can end and come back at the same address."""

    def __init__(self, stage: Stage, kind: Kind, *, credentials: bool = False) -> None:
        self.kind = kind
        self.credentials = credentials
        self.address = Address("127.0.0.1", free_port())
        self._home = stage.home(kind.name)
        self.start()

    def start(self) -> None:
        for folder in (self._home.parent, self._home):
            folder.chmod(0o711)  # some of them give up root, and then read their files
        command = self.kind.command(self._home, self.address, self.credentials)
        self.process = Process(command, self._home / "log", clean_environment(self._home))
        wait_until(self._listens, 15, f"{self.kind} listens\n{self.process.log}")

    def _listens(self) -> bool:
        assert self.process.running, f"{self.kind} ended:\n{self.process.log}"
        port = f":{self.address.port:04X} "
        lines = Path("/proc/net/tcp").read_text().splitlines()
        return any(port in line.split()[1] + " " and line.split()[3] == "0A" for line in lines[1:])

    def stop(self) -> None:
        self.process.kill()
        for segment in Path("/dev/shm").glob(f"{_squid_name(self.address)}-*"):
            segment.unlink()

    def url(self, user: str = USER, password: str = PASSWORD) -> str:
        who = f"{user}:{password}@" if self.credentials else ""
        return f"{self.kind.scheme}://{who}{self.address}"

    @property
    def bare_url(self) -> str:
        return f"{self.kind.scheme}://{self.address}"


def running(stage: Stage, kind: Kind, *, credentials: bool = False) -> Proxy:
    """Start a proxy for a story; it ends with the story."""
    proxy = Proxy(stage, kind, credentials=credentials)
    stage.callback(proxy.stop)
    return proxy


def _microsocks(_home: Path, where: Address, credentials: bool) -> Sequence[str | Path]:
    login = ["-u", USER, "-P", PASSWORD] if credentials else []
    return [require_tool("microsocks"), "-i", where.host, "-p", str(where.port), *login]


def _dante(home: Path, where: Address, _credentials: bool) -> Sequence[str | Path]:
    config = home / "danted.conf"
    config.write_text(
        f"""
logoutput: stderr
internal: {where.host} port = {where.port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: {pwd.getpwuid(os.getuid()).pw_name}
user.unprivileged: {pwd.getpwuid(os.getuid()).pw_name}
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks block {{ from: 127.0.0.0/8 to: {FORBIDDEN.host}/32 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""
    )
    return [require_tool("danted"), "-f", config, "-p", home / "danted.pid", "-N", "1"]


def _tinyproxy(home: Path, where: Address, credentials: bool) -> Sequence[str | Path]:
    config = home / "tinyproxy.conf"
    login = f"BasicAuth {USER} {PASSWORD}" if credentials else ""
    config.write_text(
        f"""
Listen {where.host}
Port {where.port}
Timeout 600
MaxClients 100
LogLevel Error
{login}
Filter "{home}/filter"
"""
    )
    (home / "filter").write_text(f"^{re.escape(FORBIDDEN.host)}$\n")
    return [require_tool("tinyproxy"), "-d", "-c", config]


def _squid(home: Path, where: Address, credentials: bool) -> Sequence[str | Path]:
    config, passwords = home / "squid.conf", home / "passwords"
    crypted = subprocess.check_output([require_tool("openssl"), "passwd", "-apr1", PASSWORD])
    passwords.write_text(f"{USER}:{crypted.decode()}")
    login = f"""
auth_param basic program {_NCSA_AUTH} {passwords}
auth_param basic children 1
acl known proxy_auth REQUIRED
http_access deny !known
"""
    config.write_text(
        f"""
http_port {where}
visible_hostname proxy.test
acl forbidden dst {FORBIDDEN.host}
http_access deny forbidden
{login if credentials else ""}
http_access allow all
cache deny all
cache_mem 0
memory_cache_shared off
pid_filename none
cache_log /dev/null
access_log none
coredump_dir /
shutdown_lifetime 0 seconds
pinger_enable off
"""
    )
    # The name keeps its shared memory apart from any other squid's.
    return [require_tool("squid"), "-N", "-n", _squid_name(where), "-f", config]


def _squid_name(where: Address) -> str:
    return f"wraith{where.port}"


MICROSOCKS = Kind("microsocks", "socks5", _microsocks, forbids=False, half_closes=False)
DANTE = Kind("dante", "socks5", _dante, takes_credentials=False)
TINYPROXY = Kind("tinyproxy", "http", _tinyproxy, tells_refused=False, half_closes=False)
SQUID = Kind("squid", "http", _squid, half_closes=False)

KINDS = (MICROSOCKS, DANTE, TINYPROXY, SQUID)
