"""A machine with an uplink, and everything that lies behind it, in network namespaces.

    host                                          far
    ├─ lo  SOCKS5 port of wraith connect          ├─ lo  203.0.113.1  wraith serve
    └─ up0 192.168.77.2 ─────── cable ─────────── └─ up1 192.168.77.1 name server of the LAN
           fd00:77::2                                    198.51.100.0/24 and 2001:db8::/32 all here:
                                                         a web page that tells who is asking

The page at the far side shows which way a request came: from 192.168.77.2 or fd00:77::2 it came
straight over the cable, from any other address through the tunnel.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from interop.peers.keys import Key
from interop.peers.process import Process, ReadyPipe, wait_until
from interop.peers.shim import make_node
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool

FAR4, FAR6 = "198.51.100.9", "2001:db8::9"
HOST, FAR = f"wr-host-{os.getpid()}", f"wr-far-{os.getpid()}"
SERVER, PORT = "203.0.113.1", 2222
DIRECT = ("192.168.77.2", "fd00:77::2")
ONLY_THERE = "only-there.test"
KNOWN_TO_ALL = "gw.test"

PAGE = """
import http.server, socket, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.client_address[0].removeprefix("::ffff:") + "\\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 512

Server(("::", 80), Page).serve_forever()
"""

_LAY = f"""
ip netns add {HOST} && ip netns add {FAR}
ip link add up0 netns {HOST} type veth peer name up1 netns {FAR}
for side in "{HOST} up0 2" "{FAR} up1 1"; do
    set -- $side
    ip -n $1 link set lo up
    ip -n $1 addr add 192.168.77.$3/24 dev $2
    ip -n $1 addr add fd00:77::$3/64 dev $2 nodad
    ip -n $1 link set $2 up
done
ip -n {HOST} route add default via 192.168.77.1
ip -n {HOST} route add default via fd00:77::1
ip -n {FAR} addr add {SERVER}/32 dev lo
ip -n {FAR} addr add 2001:db8::9/128 dev lo nodad
ip -n {FAR} route add local 198.51.100.0/24 dev lo
ip -n {FAR} route add local 2001:db8::/32 dev lo
ip -n {FAR} route add unreachable 10.66.0.0/16
"""


class Uplink:
    """Both sides, the tunnel between them, and what may be looked at from outside."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.key: Key = stage.key()
        self.serve: Process
        self.connect: Process

    def __enter__(self) -> Uplink:
        make_node()
        subprocess.run(["sh", "-ec", _LAY], check=True)
        wait_until(lambda: not self.sh("ip -6 addr show tentative"), 10, "addresses are settled")
        resolvers = Path(f"/etc/netns/{HOST}")
        resolvers.mkdir(parents=True)
        (resolvers / "resolv.conf").write_text("nameserver 192.168.77.1\noptions timeout:2\n")
        self.start(FAR, sys.executable, "-c", PAGE)
        dnsmasq: list[str | Path] = [
            require_tool("dnsmasq"),
            "--no-daemon",
            "--no-resolv",
            "--no-hosts",
        ]
        dnsmasq += ["--conf-file=/dev/null", "--user=root", "--bind-interfaces"]
        dnsmasq += ["--listen-address=192.168.77.1", f"--address=/{KNOWN_TO_ALL}/{SERVER}"]
        self.start(FAR, *dnsmasq)
        self.start_server()
        self.start_client()
        return self

    def __exit__(self, *_: object) -> None:
        for name in (HOST, FAR):
            subprocess.run(["ip", "netns", "del", name], check=True)
        (Path(f"/etc/netns/{HOST}") / "resolv.conf").unlink()
        Path(f"/etc/netns/{HOST}").rmdir()

    def start(self, side: str, *words: str | Path, ready: ReadyPipe | None = None) -> Process:
        """Start a program on one side; it ends with the story."""
        home = self.stage.home("at")
        process = Process(
            ["ip", "netns", "exec", side, *words],
            home / "log",
            clean_environment(home),
            pass_fds=[ready.writer] if ready else [],
        )
        self.stage.enter(_ended(process))
        return process

    def start_server(self) -> None:
        """`wraith serve`, which alone can resolve a name."""
        hosts = self.stage.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n198.51.100.7 {ONLY_THERE}\n")
        keys = self.stage.folder / "authorized_keys"
        keys.write_text(self.key.public + "\n")
        keys.chmod(0o600)
        self.serve, _ = self._ready(
            FAR, "unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts,
            require_tool("wraith"), "serve", "--listen", f"{SERVER}:{PORT}",
            "--key", self.stage.folder / "host_key", "--authorized-keys", keys,
        )  # fmt: skip

    def start_client(self) -> None:
        """`wraith connect` on the host."""
        self.connect, _ = self._ready(
            HOST, require_tool("wraith"), "connect", "--server", f"{SERVER}:{PORT}",
            "-i", self.key.path, "--socks5", "127.0.0.1:1080",
        )  # fmt: skip

    def _ready(self, side: str, *words: str | Path) -> tuple[Process, dict[str, Any]]:
        ready = ReadyPipe()
        process = self.start(side, *words, "--ready-fd", str(ready.writer), ready=ready)
        return process, ready.read(process)

    def sh(self, script: str, side: str = HOST, *, fails: bool = False) -> str:
        """What a script says; `fails` if it need not end well."""
        done = subprocess.run(
            ["ip", "netns", "exec", side, "sh", "-c", script],
            env=clean_environment(self.stage.home("sh")),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert fails or done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    def page(self, host: str, before: str = "") -> str:
        """From which address the far side saw a request; "" when there was no answer."""
        at = f"[{host}]" if ":" in host else host
        return self.sh(f"{before} curl -sS --max-time 5 http://{at}/", fails=True).strip()

    def tunnelled(self, host: str, before: str = "") -> bool:
        """Whether a request came, and came through the tunnel."""
        return self.page(host, before) not in ("", *DIRECT)

    def state(self) -> str:
        """All that a whole-system shim could have changed for good."""
        tables = ("ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all")
        looks = [*tables, "cat /etc/resolv.conf", "ip -o link | cut -d: -f2"]
        return "\n".join(self.sh(look) for look in looks)

    @contextlib.contextmanager
    def capture(self) -> Iterator[list[str]]:
        """What goes out over the cable and is not the tunnel; filled in at the end."""
        found: list[str] = []
        # What no router passes on is the cable's own business: ARP, neighbour discovery, and the
        # multicast that announces names to the link.
        noise = "arp or dst net 224.0.0.0/24 or dst net ff02::/16"
        noise += " or (icmp6 and ip6[40] >= 130 and ip6[40] <= 143)"
        tunnel = f"(tcp and host {SERVER} and port {PORT})"
        tcpdump = self.start(
            HOST, require_tool("tcpdump"), "-ni", "up0", "-Q", "out", "--immediate-mode", "-l",
            f"not ({noise}) and not {tunnel}",
        )  # fmt: skip
        tcpdump.wait_for_log(lambda log: "listening on" in log)
        yield found
        tcpdump.stop()
        found += [line for line in tcpdump.log.splitlines() if " > " in line]


@contextlib.contextmanager
def _ended(process: Process) -> Iterator[None]:
    yield
    if process.running:
        process.kill()


Start = Callable[..., Process]
"""Start the shim with these options, for as long as a story lasts."""


def start_shim(uplink: Uplink, *options: str) -> Process:
    """Start `wraith-tun` for the whole host and wait until it is up."""
    process = uplink.start(HOST, require_tool("wraith-tun"), *options)
    process.wait_for_log(lambda log: "wraith-tun: up" in log)
    return process


def engine_of(shim: Process) -> int:
    """The half without privileges."""
    (engine,) = [pid for pid in shim.family() if pid != shim.pid]
    return engine


def gone(pid: int) -> None:
    """Wait until a process has ended."""
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5, "it has ended")
