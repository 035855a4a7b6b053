"""A whole tunnel in one event loop: what goes in at one end comes out at the other."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import wraith
from wraith.errors import ChannelRefused, ForwardError, Refusal, SessionLost
from wraith.testing import Loopback

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def origin(handler: Handler, path: str | None = None) -> AsyncIterator[int]:
    """A server on loopback, or on a Unix socket; its port."""
    if path is not None:
        server: asyncio.Server = await asyncio.start_unix_server(handler, path)
    else:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield 0 if path is not None else server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads to the end, then answers with the digest of what came: needs a half-close."""
    whole = hashlib.sha256()
    while data := await reader.read(65536):
        whole.update(data)
    writer.write(whole.digest())
    writer.close()


async def finish(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def test_bytes_go_both_ways_by_name() -> None:
    async with Loopback() as tunnel, origin(echo) as port:
        reader, writer = await tunnel.client.open_connection("localhost", port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        await finish(writer)


async def test_a_large_upload_arrives_whole_and_the_answer_comes_after_its_end() -> None:
    payload = os.urandom(8 * 1024 * 1024 + 7)
    async with Loopback() as tunnel, origin(digest) as port:
        reader, writer = await tunnel.client.open_connection("127.0.0.1", port)
        writer.write(payload)
        writer.write_eof()
        assert await reader.read() == hashlib.sha256(payload).digest()
        await finish(writer)


async def test_many_at_once_do_not_mix() -> None:
    async def one(tunnel: Loopback, port: int, n: int) -> None:
        reader, writer = await tunnel.client.open_connection("127.0.0.1", port)
        payload = bytes([n]) * 100_000
        writer.write(payload)
        writer.write_eof()
        assert await reader.read() == payload
        await finish(writer)

    async with Loopback() as tunnel, origin(echo) as port:
        await asyncio.gather(*(one(tunnel, port, n) for n in range(40)))


async def test_a_unix_socket_needs_a_rule(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    async with origin(echo, path):
        async with Loopback() as tunnel:
            with pytest.raises(ChannelRefused) as caught:
                await tunnel.client.open_unix_connection(path)
            assert caught.value.reason is Refusal.PROHIBITED
        async with Loopback(serve={"rules": [f"allow {path}"]}) as tunnel:
            reader, writer = await tunnel.client.open_unix_connection(path)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            await finish(writer)


async def test_a_refusal_has_its_true_reason() -> None:
    async with Loopback(serve={"rules": ["deny 127.9.9.9"]}) as tunnel:
        for host, reason in [
            ("127.0.0.1", Refusal.REFUSED),
            ("no-such.invalid", Refusal.NAME_UNKNOWN),
            ("127.9.9.9", Refusal.PROHIBITED),
            ("169.254.169.254", Refusal.PROHIBITED),
            ("wraith-unheard-of", Refusal.PROHIBITED),
        ]:
            with pytest.raises(ChannelRefused) as caught:
                await tunnel.client.open_connection(host, 1)
            assert caught.value.reason is reason, host


async def test_the_echo_service_answers() -> None:
    async with Loopback() as tunnel:
        reader, writer = await tunnel.client.open_connection("wraith-echo", 0)
        writer.write(b"are you there")
        writer.write_eof()
        assert await reader.read() == b"are you there"
        await finish(writer)


async def test_a_destination_that_resets_is_seen_as_a_reset() -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"partial")
        await writer.drain()
        await asyncio.sleep(0.05)
        wraith.streams.relay.reset(writer.transport)

    async with Loopback() as tunnel, origin(resets) as port:
        reader, writer = await tunnel.client.open_connection("127.0.0.1", port)
        assert await reader.readexactly(7) == b"partial"
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_remote_forwards_come_and_go() -> None:
    async with Loopback() as tunnel, origin(echo) as port:
        forward = await tunnel.client.start_remote_forward(f"0:127.0.0.1:{port}")
        bound = forward.bound
        assert isinstance(bound, wraith.values.address.HostPort)
        assert bound.port
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        await finish(writer)
        await tunnel.client.cancel_remote_forward(forward)
        with pytest.raises(OSError, match=r".*"):
            await asyncio.open_connection("127.0.0.1", bound.port)


async def test_a_remote_forward_can_be_refused() -> None:
    async with Loopback(serve={"remote_forwards": "off"}) as tunnel:
        with pytest.raises(ForwardError):
            await tunnel.client.start_remote_forward("0:127.0.0.1:1")
        assert tunnel.client.remote_forward_addresses == ()


async def test_a_dead_server_ends_what_was_open() -> None:
    async with Loopback() as tunnel, origin(echo) as port:
        reader, writer = await tunnel.client.open_connection("127.0.0.1", port)
        writer.write(b"x")
        await reader.readexactly(1)
        for peer in list(tunnel.server._peers):
            peer.abort()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_the_session_comes_back() -> None:
    async with Loopback() as tunnel, origin(echo) as port:
        states = []
        tunnel.client.add_state_listener(lambda change: states.append(change.state))
        for peer in list(tunnel.server._peers):
            peer.abort()
        async with asyncio.timeout(5):
            while wraith.State.CONNECTED not in states:
                await asyncio.sleep(0.01)
        assert states[:3] == [
            wraith.State.WAITING,
            wraith.State.CONNECTING,
            wraith.State.CONNECTED,
        ]
        reader, writer = await tunnel.client.open_connection("127.0.0.1", port)
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        await finish(writer)


async def test_a_closed_client_says_so() -> None:
    async with Loopback() as tunnel:
        await tunnel.client.close()
        with pytest.raises(SessionLost, match="the client was closed"):
            await tunnel.client.open_connection("localhost", 1)
        assert repr(tunnel.client) == "<wraith.Client memory closed>"


async def test_a_slow_reader_holds_nobody_else_up() -> None:
    async def firehose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in range(1000):
                writer.write(b"z" * 65536)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async with Loopback() as tunnel, origin(firehose) as flood, origin(echo) as port:
        unread = [await tunnel.client.open_connection("127.0.0.1", flood) for _ in range(4)]
        await asyncio.sleep(0.2)
        reader, writer = await tunnel.client.open_connection("127.0.0.1", port)
        for _ in range(20):
            writer.write(b"ping")
            assert await asyncio.wait_for(reader.readexactly(4), 1) == b"ping"
        await finish(writer)
        for _, other in unread:
            other.transport.abort()


@pytest.mark.parametrize("moment", [0, 0.001, 0.01])
async def test_a_dial_that_is_cancelled_leaves_no_channel(moment: float) -> None:
    async with Loopback() as tunnel, origin(echo) as port:
        task = asyncio.create_task(tunnel.client.open_connection("127.0.0.1", port))
        await asyncio.sleep(moment)
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, tuple):
            await finish(outcome[1])
        async with asyncio.timeout(5):
            while any(peer.channel_count for peer in tunnel.server._peers):
                await asyncio.sleep(0.01)


async def test_more_channels_than_allowed_are_refused_and_the_rest_work() -> None:
    async with Loopback(serve={"max_channels": 2}) as tunnel, origin(echo) as port:
        first = await tunnel.client.open_connection("127.0.0.1", port)
        second = await tunnel.client.open_connection("127.0.0.1", port)
        with pytest.raises(ChannelRefused) as caught:
            await tunnel.client.open_connection("127.0.0.1", port)
        assert caught.value.reason is Refusal.RESOURCE_SHORTAGE
        await finish(first[1])
        async with asyncio.timeout(5):
            while sum(peer.channel_count for peer in tunnel.server._peers) > 1:
                await asyncio.sleep(0.01)
        third = await tunnel.client.open_connection("127.0.0.1", port)
        for _, writer in (second, third):
            await finish(writer)


async def test_one_stream_is_enough_for_some() -> None:
    async with Loopback() as tunnel:
        options = tunnel.connect_options
        async with await wraith.open_stream(options, "wraith-echo:0") as stream:
            await stream.write(b"hello")
            assert await stream.readexactly(5) == b"hello"
            assert repr(stream) == "<wraith.DuplexStream open>"
            stream.write_eof()
            assert await stream.read() == b""
