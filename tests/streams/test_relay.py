"""Two streams joined back to back."""

from __future__ import annotations

import asyncio
import socket

import pytest

from wraith.streams.memory import MemoryStream, memory_pair
from wraith.streams.relay import relay_pair, reset
from wraith.testing import Recorder


def joined() -> tuple[Recorder, Recorder]:
    """Two recorders at the far ends of a relay: client | near === far | server."""
    client, server = Recorder(), Recorder()
    near, far = relay_pair()
    memory_pair(client, near)
    memory_pair(server, far)
    return client, server


async def test_what_one_says_the_other_hears() -> None:
    client, server = joined()
    client.stream.write(b"GET")
    server.stream.write(b"200")
    assert await server.until_received(3) == b"GET"
    assert await client.until_received(3) == b"200"
    client.stream.close()
    server.stream.close()
    await asyncio.gather(client.until_lost(), server.until_lost())


async def test_each_half_closes_in_its_own_time() -> None:
    client, server = joined()
    client.stream.write(b"question")
    client.stream.write_eof()
    assert await server.until_eof() == b"question"
    server.stream.write(b"answer")
    server.stream.write_eof()
    assert await client.until_eof() == b"answer"
    client.stream.close()
    server.stream.close()
    assert await client.until_lost() is None


async def test_nothing_is_read_before_both_ends_are_there() -> None:
    client = Recorder()
    near, far = relay_pair()
    ours, _ = memory_pair(client, near)
    ours.write(b"early")
    await asyncio.sleep(0.01)
    server = Recorder()
    memory_pair(server, far)
    assert await server.until_received(5) == b"early"
    client.stream.abort()
    await asyncio.gather(client.until_lost(), server.until_lost())


async def test_what_was_read_before_the_relay_comes_first() -> None:
    client, server = Recorder(), Recorder()
    near, far = relay_pair()
    memory_pair(server, far)
    memory_pair(client, near)
    near.begin(b"early ")
    client.stream.write(b"late")
    assert await server.until_received(10) == b"early late"
    client.stream.abort()
    await asyncio.gather(client.until_lost(), server.until_lost())


async def test_an_end_that_came_early_is_passed_on() -> None:
    client, server = Recorder(), Recorder()
    near, far = relay_pair()
    memory_pair(server, far)
    memory_pair(client, near)
    near.begin(b"all", eof=True)
    assert await server.until_eof() == b"all"
    server.stream.write(b"thanks")
    server.stream.close()
    assert await client.until_eof() == b"thanks"
    client.stream.close()
    await asyncio.gather(client.until_lost(), server.until_lost())


async def test_a_broken_stream_breaks_the_other() -> None:
    client, server = joined()
    server.stream.abort()
    assert isinstance(await client.until_lost(), ConnectionResetError)
    assert await server.until_lost() is None


async def test_a_stream_that_broke_before_the_other_came_breaks_it_on_arrival() -> None:
    client, server = Recorder(), Recorder()
    near, far = relay_pair()
    memory_pair(client, near)
    client.stream.abort()
    await client.until_lost()
    await asyncio.sleep(0)
    near.connection_lost(ConnectionResetError())
    memory_pair(server, far)
    assert isinstance(await server.until_lost(), ConnectionResetError)


async def test_a_reader_that_stops_stops_the_writer_at_the_far_end() -> None:
    client, server = joined()
    client.stream.pause_reading()
    sent = 0
    while server.writable.is_set() and sent < 10_000_000:
        server.stream.write(b"x" * 65536)
        sent += 65536
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert sent < 1_000_000
    client.stream.resume_reading()
    assert len(await client.until_received(sent)) == sent
    client.stream.abort()
    await asyncio.gather(client.until_lost(), server.until_lost())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
async def test_a_reset_is_one_where_the_medium_knows_it(family: int) -> None:
    ours, theirs = tcp_pair() if family == socket.AF_INET else socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    reset(transport)
    await asyncio.sleep(0.05)
    theirs.settimeout(2)
    if family == socket.AF_INET:
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
    else:
        assert theirs.recv(1) == b""
    theirs.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server


async def test_objects_introduce_themselves() -> None:
    near, _ = relay_pair()
    assert repr(near) == "<RelayEnd waiting received_eof=False>"
    client, server = joined()
    assert isinstance(client.stream, MemoryStream)
    assert repr(client.stream) == "<MemoryStream open reading=True unread=0>"
    client.stream.abort()
    await asyncio.gather(client.until_lost(), server.until_lost())
