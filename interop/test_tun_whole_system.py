"""`wraith-tun` for a whole machine: what goes through, what goes round, and what never goes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop.peers.process import wait_until
from interop.peers.tools import require_tool
from interop.peers.uplink import (
    DIRECT,
    FAR,
    FAR4,
    FAR6,
    HOST,
    KNOWN_TO_ALL,
    ONLY_THERE,
    SERVER,
    Start,
    Uplink,
    engine_of,
)

pytestmark = pytest.mark.timeout(180)


class TestEverythingGoesThrough:
    def test_tcp_by_address_and_by_name(self, uplink: Uplink, start: Start) -> None:
        start()
        for host in (FAR4, FAR6, ONLY_THERE):
            assert uplink.tunnelled(host), host

    def test_names_by_every_way_of_asking(self, uplink: Uplink, start: Start) -> None:
        start()
        for ask in (
            "dig +short",
            "dig +tcp +short",
            "dig +short @9.9.9.9",
            "dig +short @2001:db8::53",
        ):
            assert uplink.sh(f"{ask} {ONLY_THERE}").startswith("198.1"), ask
        assert uplink.sh(f"getent ahostsv4 {ONLY_THERE}").startswith("198.1")

    def test_the_engine_has_no_privilege(self, start: Start) -> None:
        status = Path(f"/proc/{engine_of(start())}/status").read_text()
        for line in ("Uid:\t65534\t65534\t65534\t65534", "NoNewPrivs:\t1", "Groups:\t \n"):
            assert line in status
        for kind in ("CapPrm", "CapEff", "CapBnd"):
            assert f"{kind}:\t{0:016x}" in status

    def test_the_tunnel_comes_back_by_itself_underneath(self, uplink: Uplink, start: Start) -> None:
        """Its own connection must not go in circles, not even a new one."""
        start()
        uplink.serve.kill()
        uplink.start_server()
        wait_until(lambda: uplink.tunnelled(FAR4), 40, "the tunnel carries again")

    def test_a_second_one_is_refused_and_disturbs_nothing(
        self, uplink: Uplink, start: Start
    ) -> None:
        start()
        said = uplink.sh(f"{require_tool('wraith-tun')} 2>&1", fails=True)
        assert said == "wraith-tun: it runs here already; stop that one first\n"
        said = uplink.sh(f"{require_tool('wraith-tun')} --restore 2>&1", fails=True)
        assert said == "wraith-tun: it runs here already; stop that one first\n"
        assert uplink.tunnelled(FAR4)


class TestWhatGoesRound:
    def test_networks(self, uplink: Uplink, start: Start) -> None:
        start("--bypass", "198.51.100.16/28", "--bypass", "2001:db8:1::/48")
        assert uplink.page("198.51.100.17") == DIRECT[0]
        assert uplink.page("2001:db8:1::1") == DIRECT[1]
        assert uplink.tunnelled(FAR4)
        assert uplink.tunnelled(FAR6)

    def test_a_name_which_is_answered_truly(self, uplink: Uplink, start: Start) -> None:
        start("--bypass", KNOWN_TO_ALL)
        assert uplink.sh(f"dig +short {KNOWN_TO_ALL}") == f"{SERVER}\n"
        assert uplink.page(KNOWN_TO_ALL) == DIRECT[0]
        assert uplink.tunnelled(ONLY_THERE)

    def test_a_user_with_names_and_all(self, uplink: Uplink, start: Start) -> None:
        start("--bypass-uid", "65533")
        somebody = "setpriv --reuid=65533 --regid=65533 --clear-groups"
        assert uplink.page(FAR4, somebody) == DIRECT[0]
        assert uplink.page(KNOWN_TO_ALL, somebody) == DIRECT[0]
        assert uplink.tunnelled(FAR4)

    def test_all_but_the_routes_that_are_named(self, uplink: Uplink, start: Start) -> None:
        start("--route", "198.51.100.0/25", "--route", "2001:db8:2::/48")
        assert uplink.tunnelled(FAR4)
        assert uplink.tunnelled("2001:db8:2::1")
        assert uplink.page("198.51.100.200") == DIRECT[0]
        assert uplink.page(FAR6) == DIRECT[1]
        assert uplink.tunnelled(ONLY_THERE), "names lead into the tunnel"

    def test_names_with_dns_off(self, uplink: Uplink, start: Start) -> None:
        start("--dns", "off")
        assert uplink.sh(f"dig +short {KNOWN_TO_ALL}") == f"{SERVER}\n"
        assert uplink.tunnelled(FAR4)

    def test_a_neighbour(self, uplink: Uplink, start: Start) -> None:
        start()
        assert uplink.page("192.168.77.1") == DIRECT[0]


class TestTheAdministratorStaysConnected:
    def test_in_sessions_that_were_there_and_in_new_ones(
        self, uplink: Uplink, start: Start
    ) -> None:
        """Somebody from far away has a shell here, and somebody here has one there."""
        code = (
            "import socketserver\n"
            "class Echo(socketserver.StreamRequestHandler):\n"
            "    def handle(self):\n"
            "        for line in self.rfile: self.wfile.write(line)\n"
            "class Server(socketserver.ThreadingTCPServer):\n"
            "    allow_reuse_address = daemon_threads = True\n"
            "Server(('', 2022), Echo).serve_forever()\n"
        )
        client = (
            "import socket, sys, time\n"
            "s = socket.create_connection((sys.argv[1], 2022), 5, ('203.0.113.1', 0))\n"
            "for _ in range(int(sys.argv[2])):\n"
            "    s.sendall(b'x\\n'); assert s.recv(9) == b'x\\n'; print('alive', flush=True)\n"
            "    time.sleep(0.2)\n"
        )
        servers = [uplink.start(side, "python3", "-c", code) for side in (HOST, FAR)]
        time.sleep(0.5)
        inward = uplink.start(FAR, "python3", "-c", client, DIRECT[0], "15")
        outward = uplink.start(
            HOST, "python3", "-c", client.replace(", ('203.0.113.1', 0)", ""), "198.51.100.3", "15"
        )
        for session in (inward, outward):
            session.wait_for_log(lambda log: "alive" in log)
        start()
        new = uplink.start(FAR, "python3", "-c", client, DIRECT[0], "3")
        for session in (new, inward, outward):
            assert session.wait() == 0, session.log
        for server in servers:
            server.kill()


UDP_SERVER = """
import socket, sys, threading
def serve(host):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((host, 123))
    while True:
        data, who = s.recvfrom(65535)
        s.sendto(who[0].encode() + b" " + data, who)
for host in sys.argv[1:]:
    threading.Thread(target=serve, args=(host,)).start()
print("serving", flush=True)
"""

UDP_CLIENT = """
import socket, sys
kind, _, _, _, where = socket.getaddrinfo(sys.argv[1], 123, type=socket.SOCK_DGRAM)[0]
s = socket.socket(kind, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(where)
try:
    for size in (1, 48, 1200, 9000, 60000):
        s.send(b"x" * size)
        who, _, data = s.recv(65535).partition(b" ")
        assert data == b"x" * size, (size, len(data))
    print(who.decode())
except OSError as error:
    print(type(error).__name__)
"""


class TestDatagrams:
    @pytest.fixture
    def ask(self, uplink: Uplink) -> Iterator[Callable[[str], str]]:
        far = [FAR4, FAR6, "198.51.100.7"]
        server = uplink.start(FAR, "python3", "-c", UDP_SERVER, *far)
        server.wait_for_log(lambda log: "serving" in log)
        yield lambda host: uplink.sh(f"python3 -c '{UDP_CLIENT}' {host}").strip()
        server.kill()

    @pytest.mark.parametrize("host", [FAR4, FAR6, ONLY_THERE])
    def test_go_through_and_the_answers_come_from_whom_was_asked(
        self, start: Start, ask: Callable[[str], str], host: str
    ) -> None:
        start()
        assert ask(host) not in (*DIRECT, "TimeoutError", "ConnectionRefusedError")

    def test_of_dns_too_when_it_is_left_alone(self, uplink: Uplink, start: Start) -> None:
        start("--dns", "off", "--bypass", "192.168.77.1")
        with uplink.capture() as leaked:
            uplink.sh("dig +tries=1 +time=1 leak.test @198.51.100.53", fails=True)
        assert leaked == []

    def test_that_are_rejected_are_refused_at_once(
        self, start: Start, ask: Callable[[str], str]
    ) -> None:
        start("--udp", "reject")
        for host in (FAR4, FAR6, ONLY_THERE):
            assert ask(host) == "ConnectionRefusedError"

    def test_are_refused_at_once_where_the_proxy_grants_none(
        self, uplink: Uplink, start: Start, ask: Callable[[str], str]
    ) -> None:
        proxy = uplink.start(HOST, require_tool("microsocks"), "-i", "127.0.0.1", "-p", "1081")
        try:
            wait_until(
                lambda: uplink.sh("ss -Hltn sport = 1081", fails=True) != "", 5, "it listens"
            )
            start("--socks5", "127.0.0.1:1081", "--bypass", "192.0.2.1")
            assert ask(FAR4) == "ConnectionRefusedError"
        finally:
            proxy.kill()


class TestErrorsAreTrue:
    ASK = (
        "import socket, sys, time\n"
        "begun = time.monotonic()\n"
        "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n"
        "except OSError as error: print(error.errno)\n"
    )

    @pytest.mark.parametrize(
        ("host", "port", "errno"),
        [(FAR4, 9, 111), (FAR6, 9, 111), ("10.66.1.1", 80, 113), ("no-such-name.test", 80, 113)],
    )
    def test_and_come_at_once(
        self, uplink: Uplink, start: Start, host: str, port: int, errno: int
    ) -> None:
        start()
        said = uplink.sh(f"python3 -c '{self.ASK}' {host} {port}")
        assert said == f"{errno}\n"
