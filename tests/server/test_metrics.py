"""`--metrics`: true counts in Prometheus' own format, and nothing about whom or whereto."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.journeys import LINKS, echo, finish, origin, through_socks, tunnel_over
from wraith.errors import ChannelRefused, ListenError, UsageError
from wraith.server import metrics
from wraith.server.options import ServeOptions
from wraith.server.serve import Server
from wraith.ssh.keys import generate

ON = {"metrics": "127.0.0.1:0"}


async def get(server: Server, request: bytes = b"GET /metrics HTTP/1.1\r\n\r\n") -> bytes:
    where = server.metrics_address
    assert where is not None
    reader, writer = await asyncio.open_connection(where.host, where.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    await finish(writer)
    return answer


async def samples(server: Server) -> Mapping[tuple[str, str], float]:
    """Each value by its name and its only label."""
    head, _, body = (await get(server)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("link", LINKS)
async def test_what_happens_is_counted(link: str) -> None:
    async with origin(echo) as port, tunnel_over(link, serve=ON) as tunnel:
        before = await samples(tunnel.server)
        assert before["wraith_sessions", ""] == 1
        assert before["wraith_channels", ""] == before["wraith_strangers", ""] == 0
        assert before["wraith_connections_total", "accepted"] == 1
        assert before["wraith_authentications_total", "accept"] == 1
        _, writer = await through_socks(tunnel, port)
        writer.write(bytes(100_000))
        await writer.drain()
        reader, direct = await tunnel.client.open_connection("127.0.0.1", port)
        direct.write(b"x")
        await reader.readexactly(1)
        with pytest.raises(ChannelRefused):
            await tunnel.client.open_connection("169.254.169.254", 80)
        async with asyncio.timeout(5):
            while (await samples(tunnel.server))["wraith_session_bytes_total", "in"] < 100_000:
                await asyncio.sleep(0.01)
        now = await samples(tunnel.server)
        assert now["wraith_channels", ""] == 2
        assert now["wraith_channel_opens_total", "open"] == 2
        assert now["wraith_channel_opens_total", "EPERM"] == 1
        await finish(writer)
        await finish(direct)
        await tunnel.client.close()
        async with asyncio.timeout(5):
            while tunnel.server.session_count:
                await asyncio.sleep(0.01)
        after = await samples(tunnel.server)
        assert after["wraith_sessions", ""] == 0
        assert after["wraith_session_bytes_total", "in"] >= 100_000


async def test_it_tells_nothing_of_anybody() -> None:
    async with origin(echo) as port, tunnel_over("tcp", serve=ON) as tunnel:
        _, writer = await through_socks(tunnel, port)
        text = (await get(tunnel.server)).decode().partition("\r\n\r\n")[2]
        fingerprint = next(iter(tunnel.server._peers)).fingerprint
        for secret in (str(port), "127.0.0.1", "tester", fingerprint, "loopback user"):
            assert secret not in text
        await finish(writer)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /metrics?name=x HTTP/1.0\r\nHost: a\r\n\r\n", b"200"),
        (b"GET /" + b"x" * 17_000, b"431"),
    ],
)
async def test_other_requests_get_a_short_answer(request_: bytes, status: bytes) -> None:
    async with tunnel_over("memory", serve=ON) as tunnel:
        assert (await get(tunnel.server, request_)).split()[1] == status


async def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", 0.1)
    async with tunnel_over("memory", serve=ON) as tunnel:
        where = tunnel.server.metrics_address
        assert where is not None
        reader, writer = await asyncio.open_connection(where.host, where.port)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()


async def test_a_port_in_use_and_a_missing_library_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = generate()
    options = {"listen": ["127.0.0.1:0"], "key": key.export(), "authorize": [key.public.line()]}
    async with tunnel_over("memory", serve=ON) as tunnel:
        taken = str(tunnel.server.metrics_address)
        with pytest.raises(ListenError, match="already in use"):
            async with Server(ServeOptions(**options, metrics=taken)):  # type: ignore[arg-type]
                pass
    usual = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="library that is not installed"):
        async with Server(ServeOptions(**options, **ON)):  # type: ignore[arg-type]
            pass
