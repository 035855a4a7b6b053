"""Every way through the tunnel, with every pair of programs."""

from __future__ import annotations

import socket
import struct

import pytest

from interop.peers import socks
from interop.peers.origins import Digest, Echo, Farewell
from interop.peers.roles import ANY_PORT, Address, ClientAsk, Pair, Place, ServerAsk, free_port
from interop.peers.stage import Stage
from interop.peers.transfer import (
    MEGABYTE,
    echo,
    echo_flood,
    exchange,
    open_stream,
    read_exactly,
    read_to_end,
    send_blocks,
)

BULK = 200 * MEGABYTE


def open_way(stage: Stage, pair: Pair, way: str, target: Address) -> socket.socket:
    """Start a tunnel and open one connection by its SOCKS port, an `-L` or an `-R`."""
    forward = [(ANY_PORT, target)]
    ask = ClientAsk(
        local=forward if way == "local" else [], remote=forward if way == "remote" else []
    )
    client = stage.tunnel(pair, client_ask=ask).client
    if way == "socks":
        return stage.enter(socks.connect(client.socks, target))
    (listening,) = (*client.local, *client.remote)
    return stage.enter(open_stream(listening))


@pytest.mark.pairs(oracle=True)
def test_the_socks_port_reaches_a_destination(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    tunnel = stage.tunnel(pair)
    with socks.connect(tunnel.client.socks, far_echo.address) as stream:
        echo(stream)
    assert far_echo.ends.get(timeout=5) == "eof"


def test_the_socks_port_reaches_an_ipv6_destination(stage: Stage, pair: Pair) -> None:
    origin = stage.enter(Echo(Address("::1", 0)))
    tunnel = stage.tunnel(pair)
    with socks.connect(tunnel.client.socks, origin.address) as stream:
        echo(stream)


@pytest.mark.pairs(oracle=True)
def test_local_and_remote_forwards(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    fixed = Address("127.0.0.1", free_port())
    other = stage.enter(Echo()).address
    ask = ClientAsk(
        local=[(ANY_PORT, far_echo.address), (ANY_PORT, far_echo.address)],
        remote=[
            (ANY_PORT, far_echo.address),
            (fixed, far_echo.address),
            (ANY_PORT, other),
        ],
    )
    client = stage.tunnel(pair, client_ask=ask).client
    ends = [*client.local, *client.remote]
    assert len(set(ends)) == 5, "five listeners, each with a port of its own"
    assert client.remote[1] == fixed
    for place in ends:
        with open_stream(place) as stream:
            echo(stream)


@pytest.mark.parametrize(
    ("listens", "targets"), [("path", "path"), ("path", "port"), ("port", "path")]
)
def test_unix_sockets_both_ways(stage: Stage, pair: Pair, listens: str, targets: str) -> None:
    sockets = stage.home("sockets")
    target = stage.enter(Echo(sockets / "target" if targets == "path" else ANY_PORT)).place
    by_path = listens == "path"
    there: Place = sockets / "there" if by_path else ANY_PORT
    back: Place = sockets / "back" if by_path else ANY_PORT
    client = stage.tunnel(
        pair,
        ServerAsk(unix_folder=sockets),
        ClientAsk(local=[(there, target)], remote=[(back, target)]),
    ).client
    for place in (*client.local, *client.remote):
        with open_stream(place) as stream:
            echo(stream)


def test_many_connections_at_once_stay_apart(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    proxy = stage.tunnel(pair).client.socks
    streams = [stage.enter(socks.connect(proxy, far_echo.address)) for _ in range(40)]
    for number, stream in enumerate(streams):
        stream.sendall(b"%06d" % number)
    for number, stream in enumerate(streams):
        assert read_exactly(stream, 6) == b"%06d" % number


class TestHalfClose:
    """An end of writing on one side is no end of the connection."""

    @pytest.fixture(params=["socks", "local", "remote"])
    def way(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_the_client_ends_its_writing_first(
        self, stage: Stage, pair: Pair, way: str, far_digest: Digest
    ) -> None:
        with open_way(stage, pair, way, far_digest.address) as stream:
            exchange(stream, up=3 * MEGABYTE, down=5 * MEGABYTE)
        assert far_digest.ends.get(timeout=5) == "eof"

    def test_the_destination_ends_its_writing_first(
        self, stage: Stage, pair: Pair, way: str
    ) -> None:
        origin = stage.enter(Farewell())
        with open_way(stage, pair, way, origin.address) as stream:
            assert read_to_end(stream) == Farewell.GOODBYE
            stream.sendall(struct.pack(">Q", 5 * MEGABYTE))
            sent = send_blocks(stream, 5 * MEGABYTE)
            assert origin.heard.get(timeout=10) == sent
        assert origin.ends.get(timeout=5) == "eof"


@pytest.mark.timeout(120)
class TestBulk:
    """Two hundred hashed megabytes up, then as many down."""

    @pytest.mark.parametrize("way", ["socks", "local", "remote"])
    def test_200_megabytes_each_way(
        self, stage: Stage, pair: Pair, way: str, far_digest: Digest
    ) -> None:
        with open_way(stage, pair, way, far_digest.address) as stream:
            exchange(stream, up=BULK, down=BULK)

    def test_both_directions_at_the_same_time(
        self, stage: Stage, pair: Pair, far_echo: Echo
    ) -> None:
        with open_way(stage, pair, "socks", far_echo.address) as stream:
            echo_flood(stream, 50 * MEGABYTE)

    def test_keys_are_renewed_on_the_way(
        self, stage: Stage, pair: Pair, far_digest: Digest
    ) -> None:
        rekey = ["-o", "RekeyLimit=5M"] if pair.client == "openssh" else []
        rekey_there = "" if rekey else "5M"
        tunnel = stage.tunnel(pair, ServerAsk(rekey=rekey_there), ClientAsk(extra=rekey))
        with socks.connect(tunnel.client.socks, far_digest.address) as stream:
            exchange(stream, up=BULK, down=BULK)

    @pytest.mark.pairs(client="openssh")
    @pytest.mark.parametrize(
        "cipher",
        ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"],
    )
    def test_with_each_cipher(
        self, stage: Stage, pair: Pair, cipher: str, far_digest: Digest
    ) -> None:
        tunnel = stage.tunnel(pair, client_ask=ClientAsk(extra=["-c", cipher]))
        assert f"cipher: {cipher}" in tunnel.client.process.log
        with socks.connect(tunnel.client.socks, far_digest.address) as stream:
            exchange(stream, up=BULK, down=BULK)
