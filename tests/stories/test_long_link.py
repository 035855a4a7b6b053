"""A long, fat link: the window grows until the link is full, and only then."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from tests.stories.test_tunnel import finish, origin
from tests.support.long_link import LongLink
from wraith.policy.window_budget import LARGEST
from wraith.testing import Loopback
from wraith.transports.memory import MemoryAcceptor

PAYLOAD = os.urandom(1024 * 1024)
TIMES = 24


async def source(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for _ in range(TIMES):
        writer.write(PAYLOAD)
        await writer.drain()
    writer.close()


async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    whole = hashlib.sha256()
    while data := await reader.read(1 << 18):
        whole.update(data)
    writer.write(whole.digest())
    writer.close()


def far_tunnel(delay: float) -> tuple[Loopback, LongLink]:
    acceptor = MemoryAcceptor()
    link = LongLink(acceptor, delay)
    return Loopback(serve={"listen": [acceptor]}, connect={"transport": link}), link


async def test_a_download_has_more_on_its_way_than_the_first_window() -> None:
    tunnel, link = far_tunnel(0.05)
    async with tunnel, origin(source) as port:
        reader, writer = await tunnel.client.open_connection("127.0.0.1", port)
        whole = hashlib.sha256()
        while data := await reader.read(1 << 18):
            whole.update(data)
        assert whole.digest() == hashlib.sha256(PAYLOAD * TIMES).digest()
        await finish(writer)
    assert link.most_under_way > 2 * LARGEST


async def test_an_upload_does_too() -> None:
    tunnel, link = far_tunnel(0.05)
    async with tunnel, origin(sink) as port:
        reader, writer = await tunnel.client.open_connection("127.0.0.1", port)
        for _ in range(TIMES):
            writer.write(PAYLOAD)
            await writer.drain()
        writer.write_eof()
        assert await reader.read() == hashlib.sha256(PAYLOAD * TIMES).digest()
        await finish(writer)
    assert link.most_under_way > 2 * LARGEST


@pytest.mark.parametrize("channels", [1, 8])
async def test_who_does_not_read_makes_no_window_grow(channels: int) -> None:
    tunnel, link = far_tunnel(0.02)
    async with tunnel, origin(source) as port:
        opened = [await tunnel.client.open_connection("127.0.0.1", port) for _ in range(channels)]
        await asyncio.sleep(0.5)  # ample time for what must not happen
        for _, writer in opened:
            writer.transport.abort()
    assert link.most_under_way <= channels * (LARGEST + LARGEST // 8)
