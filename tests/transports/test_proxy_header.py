"""A listener behind a load balancer, on loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.support.sockets import reset
from wraith.errors import UsageError
from wraith.policy.trusted_proxies import TrustedProxies
from wraith.server.options import ServeOptions
from wraith.testing import Recorder
from wraith.transports import proxy_header
from wraith.transports.base import PeerInfo
from wraith.transports.tcp import TcpAcceptor
from wraith.values.address import parse_listen

HEADER = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 22\r\n"


class Door:
    """Whom the server was told of, and what they said."""

    def __init__(self, acceptor: TcpAcceptor) -> None:
        self.acceptor = acceptor
        self.came: list[PeerInfo] = []
        self.recorders: list[Recorder] = []

    def accept(self, info: PeerInfo) -> asyncio.Protocol:
        self.came.append(info)
        self.recorders.append(Recorder())
        return self.recorders[-1]

    def connect(self) -> socket.socket:
        port = int(self.acceptor.addresses[0].rpartition(":")[2])
        client = socket.create_connection(("127.0.0.1", port))
        client.settimeout(5)
        return client

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.came) < count:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def door(*trusted: str) -> AsyncIterator[Door]:
    acceptor = TcpAcceptor(parse_listen("127.0.0.1:0"), TrustedProxies.parse(trusted))
    door = Door(acceptor)
    await acceptor.start(door.accept)
    try:
        yield door
    finally:
        await acceptor.close()
        for recorder in door.recorders:
            recorder.stream.abort()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("cut", [1, 12, len(HEADER) - 1, len(HEADER), len(HEADER) + 3])
async def test_the_origin_is_who_the_header_names_and_the_rest_is_its_own(cut: int) -> None:
    async with door("127.0.0.0/8") as here:
        with here.connect() as client:
            whole = HEADER + b"SSH-2.0-x"
            client.sendall(whole[:cut])
            await asyncio.sleep(0.05)
            client.sendall(whole[cut:])
            await here.until(1)
            assert here.came == [PeerInfo("tcp", "203.0.113.7")]
            assert await here.recorders[0].until_received(9) == b"SSH-2.0-x"
            here.recorders[0].stream.write(b"answer")
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
            assert client.recv(6) == b"answer"


async def test_who_stands_for_itself_has_its_own_address() -> None:
    async with door("127.0.0.1") as here:
        with here.connect() as client:
            client.sendall(b"PROXY UNKNOWN\r\n")
            await here.until(1)
            assert here.came == [PeerInfo("tcp", "127.0.0.1")]


async def test_who_is_not_trusted_is_not_believed() -> None:
    async with door("10.0.0.0/8") as here:
        with here.connect() as client:
            await here.until(1)
            assert here.came == [PeerInfo("tcp", "127.0.0.1")]
            client.sendall(HEADER)
            assert await here.recorders[0].until_received(len(HEADER)) == HEADER


async def test_without_a_header_nobody_comes_in_from_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(proxy_header, "TIMEOUT", 0.1)
    async with door("127.0.0.1") as here:
        with caplog.at_level(logging.WARNING), here.connect() as bad, here.connect() as silent:
            bad.sendall(b"SSH-2.0-client\r\n")
            await asyncio.sleep(0.3)
            for client in (bad, silent):
                with suppress(ConnectionResetError):
                    assert client.recv(100) == b""
        here.connect().close()
        reset(here.connect())
        await asyncio.sleep(0.05)
        assert here.came == []
    reasons = [record.getMessage().rpartition("reason=")[2] for record in caplog.records]
    assert sorted(set(reasons)) == ["proxy-header-bad", "proxy-header-missing"]


async def test_a_listener_that_closes_lets_nobody_wait() -> None:
    async with door("127.0.0.1") as here:
        with here.connect() as client:
            client.sendall(HEADER[:5])
            await asyncio.sleep(0.03)
            await here.acceptor.close()
            with suppress(ConnectionResetError):
                assert client.recv(10) == b""


def test_only_tcp_reads_headers() -> None:
    with pytest.raises(UsageError):
        ServeOptions(trust_proxy=["10.0.0.0/33"])
    assert ServeOptions(trust_proxy=["10.0.0.0/8"]).trusted_proxies().include("10.9.9.9")
