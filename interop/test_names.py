"""Names are resolved on the server's side only.

`wraith connect` runs with an audit hook that writes down every name that its Python is asked to
resolve, and with a name that only the server can resolve.
"""

from __future__ import annotations

import ipaddress

import pytest

from interop.peers import socks
from interop.peers.origins import Echo
from interop.peers.roles import Address, ClientAsk, Pair, ServerAsk
from interop.peers.stage import Stage
from interop.peers.transfer import echo, open_stream

THERE = "only-there.test"

WATCHER = """
import os, sys

_LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")

def _watch(event, arguments):
    if event in _LOOK_UPS and not _busy:
        _busy.append(event)
        with open(os.environ["LOOK_UPS"], "a") as file:
            print(arguments[0], file=file)
        _busy.clear()

_busy = []
sys.addaudithook(_watch)
print("watched", file=open(os.environ["LOOK_UPS"], "a"))
"""


@pytest.mark.pairs(client="wraith")
def test_the_client_resolves_nothing(stage: Stage, pair: Pair, far_echo: Echo) -> None:
    watcher, look_ups = stage.home("watcher"), stage.folder / "look_ups"
    (watcher / "sitecustomize.py").write_text(WATCHER)
    there = Address(THERE, far_echo.address.port)
    client = stage.tunnel(
        pair,
        ServerAsk(hosts={THERE: "127.0.0.1"}),
        ClientAsk(
            local=[(Address("127.0.0.1", 0), there)],
            env={"PYTHONPATH": str(watcher), "LOOK_UPS": str(look_ups)},
        ),
    ).client

    for stream in (socks.connect(client.socks, there), open_stream(client.local[0])):
        with stream:
            echo(stream)
    assert socks.refusal(client.socks, Address("nowhere.invalid", 80)) == socks.HOST_UNREACHABLE
    with open_stream(client.socks) as stream:
        stream.sendall(f"GET http://{there}/ HTTP/1.1\r\nHost: {there}\r\n\r\n".encode())
        assert stream.recv(3) == b"GET", "the echo shows what reached it"

    watched, *asked = look_ups.read_text().split()
    assert watched == "watched"
    assert [name for name in asked if not _is_number(name)] == []


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
