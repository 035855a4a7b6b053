"""New keys every three megabytes, on both sides, while everything is on its way at once.

One stream of 200 MB each way, then fifty of 5 MB together, and all the while connections that come
and go. Wraith's side runs in the test's own process, since only programs may choose how often its
keys are renewed; the destinations, and what loads the tunnel, are threads with plain sockets.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast

import pytest

from interop.peers import socks
from interop.peers.origins import Digest, Echo
from interop.peers.roles import Address, ClientAsk, Server, ServerAsk, login_name
from interop.peers.stage import Stage
from interop.peers.transfer import MEGABYTE, echo, exchange
from tests.support.journeys import LINKS, tunnel_over
from tests.support.loops import LOOPS, run_under
from tests.support.paths import PATHS, take
from tests.support.ssh_link import CIPHERS
from wraith.client.connect import connect
from wraith.client.options import ConnectOptions
from wraith.server.options import ServeOptions
from wraith.server.serve import serve
from wraith.ssh import algorithms
from wraith.streams.hub import InlineLoop

pytestmark = pytest.mark.timeout(240)

REKEY = 3_000_000
BULK = 200 * MEGABYTE
MANY, EACH = 50, 5 * MEGABYTE


@contextmanager
def churn(proxy: Address, target: Address) -> Iterator[list[int]]:
    """Connections that come, say something, hear it back and go; the list counts them."""
    served: list[int] = []
    ended = threading.Event()

    def visit() -> None:
        while not ended.is_set():
            with socks.connect(proxy, target) as stream:
                echo(stream)
            served.append(1)
            ended.wait(0.002)

    with ThreadPoolExecutor() as pool:
        visitor = pool.submit(visit)
        try:
            yield served
        finally:
            ended.set()
            visitor.result(timeout=20)


def load(proxy: Address, digest: Digest, echoes: Echo, bulk: int = BULK) -> None:
    """All of it through one tunnel; blocks until every byte is proved."""

    def one(size: int) -> None:
        with socks.connect(proxy, digest.address) as stream:
            exchange(stream, up=size, down=size)

    with churn(proxy, echoes.address) as served:
        one(bulk)
        with ThreadPoolExecutor(MANY) as pool:
            list(pool.map(one, [EACH // 2] * MANY))
    assert len(served) > 20, "the visitors were kept waiting"


@pytest.mark.parametrize("cipher", [CIPHERS[0], CIPHERS[2]], ids=["gcm", "chacha"])
@pytest.mark.parametrize("link", LINKS)
def test_between_two_wraiths_over_every_link(
    link: str,
    cipher: bytes,
    far_digest: Digest,
    far_echo: Echo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(algorithms, "ciphers", lambda: [cipher.decode()])
    assert carry(link, far_digest, far_echo) == []


@pytest.mark.parametrize("path", [name for name in PATHS if name != "both fast"])
def test_between_the_hot_and_the_ordinary_path(
    path: str, far_digest: Digest, far_echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, path)
    assert carry("tcp", far_digest, far_echo, bulk=BULK // 4) == []


def carry(link: str, digest: Digest, echoes: Echo, bulk: int = BULK) -> list[object]:
    """Load a tunnel over this link; what the loop had to complain about."""

    async def work() -> None:
        rekey = {"rekey_bytes": REKEY}
        async with tunnel_over(link, serve=rekey, rekey_bytes=REKEY) as tunnel:
            bound = tunnel.client.socks5_addresses[0]
            proxy = Address(bound.host, bound.port)
            await asyncio.to_thread(load, proxy, digest, echoes, bulk)

    return list(run_under(LOOPS["inline"], work()).contexts)


@pytest.mark.parametrize("cipher", [CIPHERS[0], CIPHERS[2]], ids=["gcm", "chacha"])
def test_a_client_of_ours_with_a_stock_server(
    cipher: bytes,
    stage: Stage,
    far_digest: Digest,
    far_echo: Echo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(algorithms, "ciphers", lambda: [cipher.decode()])
    key = stage.key()
    server = stage.server("openssh", ServerAsk(authorized=[key.public], rekey="3M"))
    options = ConnectOptions(
        server=str(server.address),
        user=login_name(),
        identity=[key.path],
        host_key=server.host_key.fingerprint,
        socks5="127.0.0.1:0",
        rekey_bytes=REKEY,
    )

    async def work() -> None:
        async with connect(options) as client:
            bound = client.socks5_addresses[0]
            proxy = Address(bound.host, bound.port)
            await asyncio.to_thread(load, proxy, far_digest, far_echo)

    with asyncio.Runner(loop_factory=InlineLoop) as runner:
        runner.run(work())


@pytest.mark.parametrize("cipher", [CIPHERS[0], CIPHERS[2]], ids=["gcm", "chacha"])
def test_a_stock_client_with_a_server_of_ours(
    cipher: bytes, stage: Stage, far_digest: Digest, far_echo: Echo
) -> None:
    key, host_key = stage.key(), stage.key("host")
    options = ServeOptions(
        listen=["127.0.0.1:0"],
        key=host_key.path,
        authorized_keys=key.public.encode(),
        rekey_bytes=REKEY,
    )

    async def work() -> None:
        async with serve(options) as server:
            await asyncio.to_thread(visit, server.listen_addresses[0])

    def visit(url: str) -> None:
        address = Address.parse(url.removeprefix("tcp://"))
        here = cast(Server, SimpleNamespace(address=address, host_key=host_key))
        ask = ClientAsk(extra=["-o", "RekeyLimit=3M", "-c", cipher.decode()])
        client = stage.client("openssh", here, key, ask)
        load(client.socks, far_digest, far_echo)

    with asyncio.Runner(loop_factory=InlineLoop) as runner:
        runner.run(work())
