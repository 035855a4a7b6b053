"""Datagrams for programs."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.datagrams import ear
from tests.support.journeys import LINKS, tunnel_over
from tests.support.paths import session_of
from wraith.client.datagrams import QUEUE, Datagrams
from wraith.errors import ChannelRefused, Refusal, UsageError
from wraith.protocol.datagrams import encode_address, frames
from wraith.streams.memory import memory_pair
from wraith.testing import Recorder


@pytest.mark.parametrize("link", LINKS)
async def test_what_is_sent_comes_back_from_whom_it_was_sent_to(link: str) -> None:
    async with (
        tunnel_over(link) as tunnel,
        ear(echo=True) as partner,
        await tunnel.client.open_datagrams() as datagrams,
    ):
        for host in ("127.0.0.1", "localhost"):
            datagrams.send(b"hello", host, partner.port)
            async with asyncio.timeout(5):
                assert await datagrams.receive() == (b"hello", host, partner.port)


async def test_a_server_without_datagrams_says_so() -> None:
    async with tunnel_over("memory", serve={"proxy": "socks5://127.0.0.1:9"}) as tunnel:
        with pytest.raises(ChannelRefused) as caught:
            await tunnel.client.open_datagrams()
        assert caught.value.reason is Refusal.UNSUPPORTED


async def test_it_ends_with_its_session_and_says_so() -> None:
    async with tunnel_over("memory") as tunnel:
        datagrams = await tunnel.client.open_datagrams()
        receiving = asyncio.create_task(datagrams.receive())
        await asyncio.sleep(0.01)
        session_of(tunnel.client).abort()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(receiving, 5)
        with pytest.raises(ConnectionResetError):
            datagrams.send(b"", "a.example", 1)
        datagrams.close()
        datagrams.close()
        assert repr(datagrams) == "<wraith.Datagrams ended>"


async def test_what_no_datagram_can_be_is_told() -> None:
    async with tunnel_over("memory") as tunnel, await tunnel.client.open_datagrams() as datagrams:
        for payload, host, port, error in (
            (b"", "no/host", 1, UsageError),
            (b"", "a.example", 65_536, ValueError),
            (bytes(65_536), "a.example", 1, ValueError),
        ):
            with pytest.raises(error):
                datagrams.send(payload, host, port)


async def test_neither_direction_grows_without_bound() -> None:
    datagrams, server = Datagrams(), Recorder()
    ours, theirs = memory_pair(datagrams, server)
    written = encode_address("127.0.0.1", 53)
    theirs.write(frames([written + bytes(30_000)] * 10 + [b"nonsense"]))
    await asyncio.sleep(0.05)
    assert sum(len(payload) for payload, _, _ in datagrams._received) <= QUEUE
    assert len(datagrams._received) == QUEUE // 30_000
    theirs.pause_reading()
    for _ in range(50):
        datagrams.send(bytes(30_000), "127.0.0.1", 53)
        await asyncio.sleep(0)
    assert len(theirs._inbox) <= QUEUE + 65_536
    theirs.resume_reading()
    await asyncio.sleep(0.05)
    before = len(server.received)
    datagrams.send(b"again", "127.0.0.1", 53)
    await server.until_received(before + 1)
    theirs.write_eof()
    await asyncio.sleep(0.05)
    while datagrams._received:
        await datagrams.receive()
    with pytest.raises(ConnectionResetError):
        await datagrams.receive()
    ours.abort()
