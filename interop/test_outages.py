"""Servers that die, freeze and come back, and what programs on a tunnel see of it."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from signal import SIGCONT, SIGHUP, SIGSTOP

import pytest

from interop.peers import socks
from interop.peers.origins import Echo, Fountain
from interop.peers.process import Holdings, wait_until
from interop.peers.roles import ANY_PORT, Address, ClientAsk, Pair, Place, ServerAsk, free_port
from interop.peers.stage import Stage, Tunnel
from interop.peers.transfer import echo, open_stream, read_to_end

pytestmark = [pytest.mark.pairs(client="wraith"), pytest.mark.timeout(120)]

KEEPALIVE = 1
NOTICED = 3 * KEEPALIVE + 1
"""Seconds within which a frozen server must have been given up."""

RECONNECTED = 10
"""Seconds within which a client without prompting is back: its delays begin at 1, 2, 4."""


@dataclass
class Road:
    """A tunnel with all three ways through it to one echo."""

    tunnel: Tunnel
    far: Address

    @property
    def proxy(self) -> Address:
        return self.tunnel.client.socks

    def open_all(self) -> list[socket.socket]:
        """Open a connection by the SOCKS port, the `-L` and the `-R`."""
        client = self.tunnel.client
        return [
            socks.connect(client.socks, self.far),
            *map(open_stream, [*client.local, *client.remote]),
        ]

    def works(self) -> bool:
        """Whether all three ways carry an echo now."""
        streams: list[socket.socket] = []
        try:
            streams = self.open_all()
            for stream in streams:
                echo(stream)
        except (OSError, EOFError, socks.Refused):
            return False
        finally:
            for stream in streams:
                stream.close()
        return True

    def restart(self) -> None:
        """Kill the server at once and start it again."""
        self.tunnel.server.process.kill()
        self.tunnel.server.start()


@pytest.fixture
def road(stage: Stage, pair: Pair, far_echo: Echo) -> Road:
    forward: list[tuple[Place, Place]] = [(ANY_PORT, far_echo.address)]
    back: list[tuple[Place, Place]] = [(Address("127.0.0.1", free_port()), far_echo.address)]
    ask = ClientAsk(
        local=forward, remote=back, keepalive=KEEPALIVE, extra=["--connect-timeout", "2"]
    )
    return Road(stage.tunnel(pair, ServerAsk(keepalive=KEEPALIVE), ask), far_echo.address)


def assert_reset(stream: socket.socket) -> None:
    """A connection that was cut must not look as if it had been finished."""
    with pytest.raises(ConnectionResetError):
        read_to_end(stream)


class TestAKilledServer:
    def test_all_ways_work_again_after_its_return(self, road: Road) -> None:
        road.restart()
        wait_until(road.works, RECONNECTED, "all ways work again")

    def test_connections_in_flight_are_reset(
        self, stage: Stage, road: Road, far_echo: Echo
    ) -> None:
        streams = [stage.enter(stream) for stream in road.open_all()]
        for stream in streams:
            echo(stream)
        road.tunnel.server.process.kill()
        for stream in streams[:2]:
            assert_reset(stream)
        ends = [far_echo.ends.get(timeout=5) for _ in streams]
        assert "reset" in ends, "the client's own connection behind the -R"

    def test_a_cut_download_does_not_look_complete(self, stage: Stage, road: Road) -> None:
        fountain = stage.enter(Fountain())
        stream = stage.enter(socks.connect(road.proxy, fountain.address))
        assert stream.recv(1)
        road.tunnel.server.process.kill()
        assert_reset(stream)

    def test_new_connections_wait_only_so_long(self, road: Road) -> None:
        road.tunnel.server.process.kill()
        begun = time.monotonic()
        assert socks.refusal(road.proxy, road.far) == socks.GENERAL_FAILURE
        assert time.monotonic() - begun < 2 + 1

    def test_a_connection_that_waits_is_served_when_it_is_back(self, road: Road) -> None:
        road.tunnel.server.process.kill()
        time.sleep(0.2)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(socks.connect, road.proxy, road.far)
            road.tunnel.server.start()
            road.tunnel.client.process.signal(SIGHUP)
            with waiting.result(timeout=10) as stream:
                echo(stream)

    def test_another_host_key_on_its_return_is_fatal(self, stage: Stage, road: Road) -> None:
        server, client = road.tunnel.server, road.tunnel.client
        server.process.kill()
        pinned, server.host_key = server.host_key, stage.key("new")
        server.start()
        assert client.process.wait(RECONNECTED) == 1
        assert pinned.fingerprint in client.process.log
        assert server.host_key.fingerprint in client.process.log
        client.process.killed = True  # it ended as it should


class TestAFrozenServer:
    def test_is_noticed_and_left_in_time(self, stage: Stage, road: Road) -> None:
        streams = [stage.enter(stream) for stream in road.open_all()]
        for stream in streams:
            echo(stream)
        road.tunnel.server.process.signal_family(SIGSTOP)
        begun = time.monotonic()
        for stream in streams[:2]:
            assert_reset(stream)
        assert time.monotonic() - begun < NOTICED
        assert socks.refusal(road.proxy, road.far) == socks.GENERAL_FAILURE
        assert time.monotonic() - begun < NOTICED + 2 + 1
        road.tunnel.server.process.signal_family(SIGCONT)
        wait_until(road.works, RECONNECTED + 5, "all ways work again, the -R at its old port too")

    def test_for_a_moment_only_disturbs_nothing(self, stage: Stage, road: Road) -> None:
        streams = [stage.enter(stream) for stream in road.open_all()]
        for _ in range(3):
            road.tunnel.server.process.signal_family(SIGSTOP)
            time.sleep(1)
            road.tunnel.server.process.signal_family(SIGCONT)
            for stream in streams:
                echo(stream)


@pytest.mark.pairs(client="wraith", server="wraith")
def test_a_listener_of_a_frozen_client_is_taken_over(stage: Stage, road: Road) -> None:
    (taken,) = road.tunnel.client.remote
    road.tunnel.client.process.signal_family(SIGSTOP)
    ask = ClientAsk(remote=[(taken, road.far)], extra=["--exit-on-forward-failure"])
    begun = time.monotonic()
    heir = stage.client("wraith", road.tunnel.server, road.tunnel.key, ask)
    assert time.monotonic() - begun < 5
    with open_stream(heir.remote[0]) as stream:
        echo(stream)


def test_twenty_outages_leave_nothing_behind(stage: Stage, road: Road) -> None:
    process = road.tunnel.client.process

    def outage() -> None:
        streams = road.open_all()
        road.restart()
        for stream in streams:
            stream.close()
        _prompted(road)

    def settled() -> Holdings:
        time.sleep(0.3)
        return process.holdings()

    for _ in range(5):
        outage()
    before = settled()
    for _ in range(20):
        outage()
    after = settled()
    assert after.descriptors <= before.descriptors
    assert after.threads <= before.threads
    assert after.memory - before.memory < 8 * 1024


@pytest.mark.pairs(server="wraith")
def test_twenty_clients_that_die_leave_nothing_at_the_server(
    stage: Stage, pair: Pair, far_echo: Echo
) -> None:
    key = stage.key()
    server = stage.server("wraith", ServerAsk(authorized=[key.public], keepalive=KEEPALIVE))

    def visit() -> None:
        ask = ClientAsk(remote=[(ANY_PORT, far_echo.address)])
        client = stage.client(pair.client, server, key, ask)
        streams = [socks.connect(client.socks, far_echo.address), open_stream(client.remote[0])]
        for stream in streams:
            echo(stream)
        client.process.kill()
        for stream in streams:
            stream.close()

    def settled() -> Holdings:
        time.sleep(0.5)
        return server.process.holdings()

    for _ in range(5):
        visit()
    before = settled()
    for _ in range(20):
        visit()
    after = settled()
    assert after.descriptors <= before.descriptors
    assert after.threads <= before.threads
    assert after.memory - before.memory < 8 * 1024


def _prompted(road: Road) -> None:
    """SIGHUP has the client try at once, so that the story need not wait for its delays."""

    def works() -> bool:
        road.tunnel.client.process.signal(SIGHUP)
        return road.works()

    wait_until(works, RECONNECTED, "all ways work again")
