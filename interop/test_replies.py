"""`wraith connect` tells programs the truth about what became of their request."""

from __future__ import annotations

import time

import pytest

from interop.peers import socks
from interop.peers.origins import Echo
from interop.peers.roles import Address, ClientAsk, Pair, ServerAsk, unused_port
from interop.peers.stage import Stage
from interop.peers.transfer import echo, open_stream, read_to_end

pytestmark = pytest.mark.pairs(client="wraith")


def _connect_by_http(proxy: Address, target: Address) -> bytes:
    with open_stream(proxy) as stream:
        stream.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        return read_to_end(stream).partition(b"\r\n")[0]


def test_a_closed_port(stage: Stage, pair: Pair) -> None:
    proxy = stage.tunnel(pair).client.socks
    with unused_port() as closed:
        assert socks.refusal(proxy, closed) == socks.CONNECTION_REFUSED
        assert _connect_by_http(proxy, closed).startswith(b"HTTP/1.1 502 ")


def test_an_unknown_name(stage: Stage, pair: Pair) -> None:
    proxy = stage.tunnel(pair).client.socks
    nowhere = Address("nowhere.invalid", 80)
    assert socks.refusal(proxy, nowhere) == socks.HOST_UNREACHABLE
    assert _connect_by_http(proxy, nowhere).startswith(b"HTTP/1.1 502 ")


def test_a_server_that_forbids_it(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    proxy = stage.tunnel(pair, ServerAsk(forwarding=False)).client.socks
    assert socks.refusal(proxy, far_echo.address) == socks.NOT_ALLOWED
    assert _connect_by_http(proxy, far_echo.address).startswith(b"HTTP/1.1 403 ")


def test_a_refused_local_forward_is_reset(stage: Stage, pair: Pair) -> None:
    with unused_port() as closed:
        ask = ClientAsk(local=[(Address("127.0.0.1", 0), closed)])
        (local,) = stage.tunnel(pair, client_ask=ask).client.local
        with open_stream(local) as stream, pytest.raises(ConnectionResetError):
            stream.recv(1)


@pytest.mark.pairs(client="wraith", server="openssh")
def test_datagrams_at_a_server_that_has_none(stage: Stage, pair: Pair) -> None:
    proxy = stage.tunnel(pair).client.socks
    begun = time.monotonic()
    reply = socks.refusal(proxy, Address("0.0.0.0", 0), socks.UDP_ASSOCIATE)
    assert reply == socks.COMMAND_NOT_SUPPORTED
    assert time.monotonic() - begun < 1


def test_a_refusal_leaves_the_others_alone(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    proxy = stage.tunnel(pair).client.socks
    with socks.connect(proxy, far_echo.address) as stream, unused_port() as closed:
        for _ in range(20):
            assert socks.refusal(proxy, closed) == socks.CONNECTION_REFUSED
        echo(stream)
