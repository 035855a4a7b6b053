"""Through `wraith-tun` an application learns the truth, and at once.

    application ── wraith-tun ── SOCKS5 server of the story ── wraith connect ── wraith serve

The server of the story notes when it says no, and the application when it has heard so. A busy
machine can delay any single attempt; so the quickest of several has to be quick, and none may be
there before the answer.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from interop.peers import socks
from interop.peers.alley import Alley
from interop.peers.far_side import FarSide
from interop.peers.roles import Address, ClientAsk, ServerAsk
from interop.peers.scripted_socks import ScriptedSocks
from interop.peers.shim import users
from interop.peers.stage import Stage

pytestmark = pytest.mark.timeout(120)

AT_ONCE = 0.05
"""Seconds from the proxy's reply to the application's error."""

ATTEMPTS = 10
NAME = "only-there.test"

# Attempts take turns between a connect that waits and one that is waited for.
APPLICATION = """
import errno, select, socket, sys, time
host, attempts, *ports = sys.argv[1:]
for port in map(int, ports):
    family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    for number in range(int(attempts)):
        with socket.socket(family) as stream:
            if number % 2:
                code = stream.connect_ex(where)
            else:
                stream.setblocking(False)
                assert stream.connect_ex(where) == errno.EINPROGRESS
                select.select([], [stream], [], 30)
                code = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            print(port, errno.errorcode.get(code, code), time.monotonic())
"""

TRUTHS = {
    socks.CONNECTION_REFUSED: "ECONNREFUSED",
    socks.NETWORK_UNREACHABLE: "ENETUNREACH",
    socks.HOST_UNREACHABLE: "EHOSTUNREACH",
    socks.TTL_EXPIRED: "EHOSTUNREACH",
    socks.GENERAL_FAILURE: "ECONNREFUSED",
    socks.NOT_ALLOWED: "ECONNREFUSED",
    socks.COMMAND_NOT_SUPPORTED: "ECONNREFUSED",
}
"""What each reply is to an application; 6 is what servers say of a time-out."""

Decide = Callable[[Address], int]
Ask = Callable[..., dict[int, set[str]]]
"""Try ports of a host, with a server that decides in a way; port to all errors that came."""


@pytest.fixture(params=users())
def ask(request: pytest.FixtureRequest, stage: Stage) -> Ask:
    def ask(
        decide: Decide, host: str, *ports: int, attempts: int = ATTEMPTS
    ) -> dict[int, set[str]]:
        with ScriptedSocks(decide) as proxy:
            alley = Alley(stage, request.param, proxy.address)
            words = ["python3", "-c", APPLICATION, host, str(attempts), *map(str, ports)]
            lines = [line.split() for line in alley.say(*words).splitlines()]
            replied = proxy.replied
        assert len(lines) == len(replied) == attempts * len(ports)
        delays: dict[int, list[float]] = {}
        for (port, _, heard), said in zip(lines, replied, strict=True):
            delays.setdefault(int(port), []).append(float(heard) - said)
        for at, found in delays.items():
            middle = 1000 * statistics.median(found)
            print(f"{host} {at}: {1000 * min(found):.2f} ms at best, {middle:.2f} ms median")
            assert min(found) > 0, "nobody may guess"
            assert min(found) < AT_ONCE
        return {at: {code for port, code, _ in lines if int(port) == at} for at in delays}

    return ask


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", NAME])
def test_every_reply_is_the_right_error(ask: Ask, host: str) -> None:
    errors = ask(lambda target: target.port - 7000, host, *(7000 + reply for reply in TRUTHS))
    assert errors == {7000 + reply: {error} for reply, error in TRUTHS.items()}


FAR4, FAR6 = "10.20.30.1", "fd20::1"
NOBODY4, NOBODY6 = "10.66.1.1", "fd66::1"
NO_WAY4, NO_WAY6 = "192.0.2.1", "2001:db8::1"
SILENT = "10.77.1.1"


@pytest.fixture(scope="module")
def tunnel() -> Iterator[Decide]:
    """What `wraith connect` replies, of what `wraith serve` has found on its side."""
    with Stage() as stage:
        key = stage.key()
        far = FarSide(stage, ServerAsk(authorized=[key.public], hosts={NAME: FAR4}))
        for address in (FAR4, f"{FAR6}/128"):
            far.ip("addr", "add", address, "dev", "lo")
        for nobody in ("10.66.0.0/16", "fd66::/64"):
            far.ip("route", "add", "unreachable", nobody)
        far.ip("link", "add", "cable", "type", "veth", "peer", "name", "nobody")
        for end in ("cable", "nobody"):
            far.ip("link", "set", end, "up", "arp", "off")
        far.ip("route", "add", SILENT, "dev", "cable", "src", FAR4)
        yield partial(socks.refusal, stage.client("wraith", far, key, ClientAsk()).socks)


@pytest.mark.parametrize("host", [FAR4, FAR6, NAME])
def test_a_server_that_refuses(ask: Ask, tunnel: Decide, host: str) -> None:
    assert ask(tunnel, host, 9) == {9: {"ECONNREFUSED"}}


@pytest.mark.parametrize("host", [NOBODY4, NOBODY6, "no-such-name.test"])
def test_a_host_that_is_not_there(ask: Ask, tunnel: Decide, host: str) -> None:
    assert ask(tunnel, host, 80) == {80: {"EHOSTUNREACH"}}


@pytest.mark.parametrize("host", [NO_WAY4, NO_WAY6])
def test_a_network_that_is_not_there(ask: Ask, tunnel: Decide, host: str) -> None:
    assert ask(tunnel, host, 80) == {80: {"ENETUNREACH"}}


def test_a_host_that_is_silent(ask: Ask, tunnel: Decide) -> None:
    """The server gives up after ten seconds; nobody waits any longer."""
    assert ask(tunnel, SILENT, 80, attempts=2) == {80: {"EHOSTUNREACH"}}
