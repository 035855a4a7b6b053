"""UDP through `wraith-tun --unshare`: QUIC, NTP and DNS, and what is said where there is none.

program ── wraith-tun ── wraith connect ── wraith serve ── a network that only it reaches
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioquic
import pytest

from interop.peers import quic
from interop.peers.alley import Alley
from interop.peers.far_side import FarSide
from interop.peers.origins import Echo
from interop.peers.roles import Address, ClientAsk, Pair, ServerAsk
from interop.peers.shim import users
from interop.peers.stage import Stage
from interop.peers.tools import require_tool
from tests.support.certificates import Made, make_certificate

pytestmark = pytest.mark.timeout(180)

NAME, FAR4, FAR6 = "only-there.test", "10.20.30.1", "fd20::1"
HOSTS = (NAME, FAR4, FAR6)
QUIC, NTP = 4433, 123


@dataclass
class Far:
    """A server with a network of its own, and the SOCKS5 port that leads there."""

    side: FarSide
    proxy: Address
    certificate: Made


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    with Stage() as stage:
        home, key = public_folder(stage), stage.key()
        side = FarSide(stage, ServerAsk(authorized=[key.public], hosts={NAME: FAR4}))
        for address in (FAR4, f"{FAR6}/128"):
            side.ip("addr", "add", address, "dev", "lo")
        proxy = stage.client("wraith", side, key, ClientAsk()).socks
        yield Far(side, proxy, make_certificate(home, *HOSTS))


@pytest.fixture(params=users())
def alley(request: pytest.FixtureRequest, far: Far, stage: Stage) -> Alley:
    return Alley(stage, request.param, far.proxy)


def public_folder(stage: Stage) -> Path:
    """A folder whose files everybody may read who knows their names."""
    home = stage.home("public")
    for folder in (stage.folder, home):
        folder.chmod(0o711)
    return home


def ask_by_quic(
    alley: Alley, made: Made, where: Address, streams: int = 1, size: int = 1000
) -> dict[str, Any]:
    """What the program says; it runs on a Python that this user may run, with our libraries."""
    words = [where.host, str(where.port), str(made.cert_path), str(streams), str(size)]
    libraries = str(Path(aioquic.__file__).parent.parent)
    said = alley.say("python3", quic.__file__, "ask", *words, PYTHONPATH=libraries)
    news: dict[str, Any] = json.loads(said)
    print(f"{where.host}: {news}")
    return news


@pytest.fixture(scope="module")
def quic_server(far: Far) -> int:
    """Its port, on both addresses of the far side."""
    made = far.certificate
    for host in (FAR4, FAR6):
        words = [host, str(QUIC), str(made.cert_path), str(made.key_path)]
        server = far.side.run(sys.executable, quic.__file__, "serve", *words)
        server.wait_for_log(lambda log: "serving" in log)
    return QUIC


@pytest.mark.parametrize("host", HOSTS)
def test_quic_with_several_streams_at_once(
    alley: Alley, far: Far, quic_server: int, host: str
) -> None:
    where = Address(host, quic_server)
    news = ask_by_quic(alley, far.certificate, where, streams=8, size=500_000)
    assert (news["way"], news["whole"]) == ("quic", True)


# A server after RFC 5905, figure 8, whose clock goes an hour fast.
NTP_SERVER = """
import socket, struct, sys, time
host, port = sys.argv[1:]
ear = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
ear.bind((host, int(port)))
print("serving", flush=True)
while True:
    query, who = ear.recvfrom(1000)
    assert len(query) == 48 and query[0] & 7 == 3
    now = struct.pack(">Q", int((time.time() + 2208988800 + 3600) * 2**32))
    start = struct.pack(">BBbbII4s", 4 << 3 | 4, 1, 6, -20, 0, 0, b"FAST")
    ear.sendto(start + now + query[40:48] + now + now, who)
"""


@pytest.fixture(scope="module")
def ntp_server(far: Far) -> None:
    for host in (FAR4, FAR6):
        server = far.side.run(sys.executable, "-c", NTP_SERVER, host, str(NTP))
        server.wait_for_log(lambda log: "serving" in log)


@pytest.mark.usefixtures("ntp_server")
@pytest.mark.parametrize("host", HOSTS)
def test_ntp(alley: Alley, host: str) -> None:
    said = json.loads(alley.say(require_tool("ntpdig"), "--json", host))
    assert 3599 < said["offset"] < 3601


class TestDig:
    """A name server that only the far side reaches; the answers are its own, not ours."""

    @pytest.fixture(scope="module", autouse=True)
    @staticmethod
    def server(far: Far) -> None:
        for host in (FAR4, FAR6):
            far.side.dns("intranet.test,10.9.8.7", where=Address(host, 53))

    @pytest.mark.parametrize("host", [FAR4, FAR6])
    def test_on_the_usual_port_when_names_are_left_alone(self, alley: Alley, host: str) -> None:
        dig = ["dig", "+short", "+tries=1", f"@{host}", "intranet.test"]
        assert alley.say(*dig, options=["--dns", "off"]) == "10.9.8.7\n"
        assert alley.say(*dig, "+tcp", options=["--dns", "off"]) == "10.9.8.7\n"
        assert alley.say(*dig).startswith("198.1"), "else they are answered here"


# One socket for each attempt; and then one that goes on sending.
APPLICATION = """
import socket, sys, time
host, port = sys.argv[1:]
kind, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
def ask(s):
    begun = time.monotonic()
    try:
        s.send(bytes(48))
        s.recv(1)
    except OSError as error:
        print(type(error).__name__, time.monotonic() - begun)
for _ in range(5):
    with socket.socket(kind, socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.connect(where)
        for _ in range(3):
            ask(s)
"""


class TestNoDatagramsThere:
    """`ssh -D` knows nothing of UDP ASSOCIATE; `wraith connect` refuses it where sshd serves."""

    @pytest.fixture(params=["openssh-openssh", "wraith-openssh"])
    def alley(self, request: pytest.FixtureRequest, stage: Stage) -> Alley:
        ask = ServerAsk(hosts={NAME: "127.0.0.1"})
        client = stage.tunnel(Pair(*request.param.split("-")), ask).client
        return Alley(stage, users()[-1], client.socks)

    @pytest.mark.parametrize("host", [NAME, "192.0.2.1", "2001:db8::1"])
    def test_the_application_is_told_at_once(self, alley: Alley, host: str) -> None:
        said = alley.say("python3", "-c", APPLICATION, host, "9").split()
        assert set(said[::2]) == {"ConnectionRefusedError"}
        seconds = [float(word) for word in said[1::2]]
        print(f"{host}: {1000 * statistics.median(seconds):.1f} ms median of {len(seconds)}")
        assert min(seconds) < 0.05

    def test_quic_gives_way_to_tcp(self, alley: Alley, stage: Stage, far_echo: Echo) -> None:
        """By itself it would have waited for a minute."""
        made = make_certificate(public_folder(stage), NAME)
        news = ask_by_quic(alley, made, Address(NAME, far_echo.address.port))
        assert (news["way"], news["because"]) == ("tcp", "ConnectionRefusedError")
        assert news["whole"]
        assert news["seconds"] < 5
