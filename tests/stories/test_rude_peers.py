"""A peer with a good key and bad manners: at worst its own session ends; memory stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import wraith
from tests.support.journeys import LINKS, echo, finish, origin, through_socks, tunnel_over
from tests.support.paths import session_of
from tests.support.ssh_link import number, string
from wraith.errors import ChannelRefused, SessionLost
from wraith.ssh import fast_connection, packet_writer
from wraith.ssh.fast_connection import FastConnection
from wraith.testing import Loopback
from wraith.values.address import TcpDestination

PATIENCE = 20.0
KEXINIT = 20  # SSH_MSG_KEXINIT


def client_connection(tunnel: Loopback) -> FastConnection:
    connection = session_of(tunnel.client)._connection
    assert isinstance(connection, FastConnection)
    return connection


def server_connection(tunnel: Loopback) -> FastConnection:
    (peer,) = tunnel.server._peers
    assert peer.session is not None
    connection = peer.session._connection
    assert isinstance(connection, FastConnection)
    return connection


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def overhear(connection: FastConnection, heard: list[bytes]) -> None:
    """Keep the rare channel messages from a side that has not asked for them."""

    def remember(_kind: int, _seq: int, message: bytes) -> bool:
        heard.append(message)
        return True

    vars(connection)["channel_message"] = remember


def stop_overhearing(connection: FastConnection) -> None:
    del vars(connection)["channel_message"]


def may_send(connection: FastConnection) -> bool:
    return connection.writer.ready


def is_stalled(connection: FastConnection) -> bool:
    return bool(connection._stalled)


@asynccontextmanager
async def two_clients(link: str) -> AsyncIterator[tuple[Loopback, wraith.Client]]:
    """A tunnel, and a second client of the same server whose connection must not suffer."""
    async with tunnel_over(link) as tunnel:
        options = tunnel.client._options
        async with wraith.connect(options) as bystander:
            yield tunnel, bystander


async def is_well(client: wraith.Client, port: int) -> None:
    reader, writer = await client.open_connection("127.0.0.1", port)
    writer.write(b"still here")
    assert await reader.readexactly(10) == b"still here"
    await finish(writer)


def channel_open(kind: bytes = b"direct-tcpip", *arguments: bytes) -> bytes:
    numbers = number(77) + number(1 << 20) + number(1 << 15)
    return b"\x5a" + string(kind) + numbers + b"".join(arguments)


DIRECT = string(b"127.0.0.1") + number(1) + string(b"x") + number(0)

RUDE = {
    "noise that is no packet": None,
    "a message about no channel": b"\x61" + number(99),
    "data for no channel": b"\x5e" + number(99) + string(b"x"),
    "a message cut short": b"\x5a" + number(100),
    "an open without its arguments": channel_open(),
    "a channel type that is no text": channel_open(b"\xff\xfe"),
    "packets of no size": b"\x5a" + string(b"direct-tcpip") + number(7) + number(1) + number(0),
    "a request cut short": b"\x62" + number(0),
    "an answer that nobody asked for": b"\x51",
    "a confirmation that nobody asked for": b"\x5b" + number(0) + number(0) + number(0) + number(9),
    "a refusal that nobody asked for": b"\x5c" + number(0) + number(2) + string(b"") + string(b""),
    "a key exchange out of turn": b"\x15",
    "a service that was not announced": b"\x06" + string(b"ssh-userauth"),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("message", RUDE.values(), ids=RUDE)
async def test_a_broken_message_ends_its_own_session_and_no_other(
    message: bytes | None, link: str
) -> None:
    async with origin(echo) as port, two_clients(link) as (tunnel, bystander):
        ended = asyncio.create_task(session_of(tunnel.client).wait_closed())
        connection = client_connection(tunnel)
        if message is None:
            connection.writer.raw(b"\0\0\0\x20" + b"noise" * 20)
        else:
            connection.writer.message(message)
        assert isinstance(await asyncio.wait_for(ended, PATIENCE), SessionLost)
        await is_well(bystander, port)


HARMLESS = {
    "a message of a type that there is not": b"\xc8what",
    "padding": b"\x02" + string(b"x"),
    "a remark": b"\x04\0" + string(b"x") + string(b""),
    "a request that we do not know": b"\x50" + string(b"x@example.com") + b"\1",
    "a keepalive": b"\x50" + string(b"keepalive@openssh.com") + b"\1",
    "a channel type that we do not know": channel_open(b"x@example.com"),
    "a session": channel_open(b"session"),
    "a host that is no text": channel_open(
        b"direct-tcpip", string(b"\xff") + number(1) + string(b"x") + number(0)
    ),
    "a forward on an impossible port": b"\x50"
    + string(b"tcpip-forward")
    + b"\1"
    + string(b"localhost")
    + number(70_000),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("message", HARMLESS.values(), ids=HARMLESS)
async def test_what_is_only_odd_is_answered_and_the_session_lives(
    message: bytes, link: str
) -> None:
    async with origin(echo) as port, tunnel_over(link) as tunnel:
        server = server_connection(tunnel)
        answers: list[bytes] = []
        # The client has not asked, so its own side must not see the answers.
        connection = client_connection(tunnel)
        overhear(connection, answers)
        if message.startswith(b"\x50"):
            connection._global_request_waiters.append(asyncio.get_running_loop().create_future())
        connection.writer.message(message)
        await connection.probe()  # whose answer comes after the others, however long the way is
        await asyncio.sleep(0.02)
        stop_overhearing(connection)
        assert server.is_usable
        assert server.channel_count == 0
        await is_well(tunnel.client, port)


@pytest.mark.parametrize("link", LINKS)
async def test_a_flood_of_opens_gets_its_refusals_and_no_more_channels_than_allowed(
    link: str,
) -> None:
    async with origin(echo) as port, two_clients(link) as (tunnel, bystander):
        connection = client_connection(tunnel)
        answers: list[bytes] = []
        overhear(connection, answers)
        for _ in range(3000):
            connection.writer.message(channel_open(b"direct-tcpip", DIRECT))
        await until(lambda: len(answers) == 3000)
        assert {message[0] for message in answers} == {0x5C}
        counts = [peer.channel_count for peer in tunnel.server._peers]
        assert sum(counts) == 0
        await is_well(bystander, port)


async def test_a_flood_of_global_requests_ends_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are answered in order, and the first of them may take its time."""
    monkeypatch.setattr(fast_connection, "MOST_REQUESTS", 10)
    async with tunnel_over("memory") as tunnel:
        at_last = asyncio.Event()

        async def slow(_delegate: Any, _address: Any) -> None:
            await at_last.wait()

        (peer,) = tunnel.server._peers
        monkeypatch.setattr(type(peer), "listen", slow)
        ended = asyncio.create_task(session_of(tunnel.client).wait_closed())
        forward = b"\x50" + string(b"tcpip-forward") + b"\1" + string(b"localhost") + number(0)
        for _ in range(12):
            client_connection(tunnel).writer.message(forward)
        lost = await asyncio.wait_for(ended, PATIENCE)
        assert "too many global requests" in str(lost)
        at_last.set()


async def test_a_key_exchange_that_the_peer_never_ends_ends_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast_connection, "MOST_DEFERRED", 20)
    async with tunnel_over("memory") as tunnel:
        client, server = client_connection(tunnel), server_connection(tunnel)
        ended = asyncio.create_task(session_of(tunnel.client).wait_closed())

        async def ignore(*_packet: Any) -> None:
            return

        client._packet_handlers = {**client._packet_handlers, KEXINIT: ignore}
        server._send_kexinit()
        server._kexinit_sent = True
        for _ in range(40):
            client.writer.message(channel_open(b"x@example.com"))
        await asyncio.wait_for(ended, PATIENCE)
        assert not server.is_usable
        assert len(server._deferred_packets) <= 20


@pytest.mark.parametrize("link", LINKS)
async def test_a_peer_that_never_reads_answers_is_not_read_from_until_it_does(
    link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (packet_writer, fast_connection):
        monkeypatch.setattr(module, "BACKLOG_LIMIT", 600_000)
    async with origin(echo) as port, tunnel_over(link) as tunnel:
        client, server = client_connection(tunnel), server_connection(tunnel)
        answers: list[bytes] = []
        overhear(client, answers)
        client._stall(4)
        asked = 0
        async with asyncio.timeout(PATIENCE):
            while not is_stalled(server):
                for _ in range(2000):
                    client.writer.message(channel_open(b"direct-tcpip", DIRECT))
                asked += 2000
                await asyncio.sleep(0)
        client._go_on(4)
        await until(lambda: len(answers) == asked)
        assert not is_stalled(server)
        stop_overhearing(client)
        await is_well(tunnel.client, port)


# Time, keys and goodbyes


@pytest.mark.parametrize("link", LINKS)
async def test_traffic_on_the_hot_path_is_a_sign_of_life(link: str) -> None:
    async with origin(echo) as port, tunnel_over(link) as tunnel:
        reader, writer = await through_socks(tunnel, port)
        for connection in (client_connection(tunnel), server_connection(tunnel)):
            assert connection._liveness is not None
            before = connection._liveness.next_check
            await asyncio.sleep(0.02)
            writer.write(b"x")
            await reader.readexactly(1)
            assert connection._liveness.next_check > before
        await finish(writer)


async def test_a_silent_session_is_asked_and_the_round_trip_is_learnt() -> None:
    async with tunnel_over("memory", keepalive=0.02) as tunnel:
        connection = client_connection(tunnel)
        await until(lambda: connection.round_trip > 0)
        assert connection.round_trip < PATIENCE


async def test_a_peer_that_has_fallen_silent_is_given_up() -> None:
    async with tunnel_over("memory", keepalive=0.02) as tunnel:
        session = session_of(tunnel.client)
        server_connection(tunnel)._stall(4)
        lost = await asyncio.wait_for(session.wait_closed(), PATIENCE)
        assert "fallen silent" in str(lost)


@pytest.mark.parametrize("link", LINKS)
async def test_reading_from_applications_stops_while_keys_are_renewed(link: str) -> None:
    async with origin(echo) as port, tunnel_over(link) as tunnel:
        reader, writer = await through_socks(tunnel, port)
        connection = client_connection(tunnel)
        connection._send_kexinit()
        connection._kexinit_sent = True
        assert not may_send(connection)
        sealed = connection.writer.seq
        writer.write(b"during the key exchange")
        assert await reader.readexactly(23) == b"during the key exchange"
        assert may_send(connection)
        assert connection.writer.seq != sealed
        await finish(writer)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("way", ["up", "down"])
async def test_either_direction_alone_brings_a_key_exchange(way: str, link: str) -> None:
    async def fill(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if way == "down":
            writer.write(b"z" * 1_000_000)
        else:
            await reader.readexactly(1_000_000)
            writer.write(b"!")
        await writer.drain()
        writer.close()

    async with origin(fill) as port, tunnel_over(link, rekey_bytes=200_000) as tunnel:
        connection = client_connection(tunnel)
        first = connection.writer.cipher
        reader, writer = await through_socks(tunnel, port)
        if way == "up":
            writer.write(b"z" * 1_000_000)
        assert len(await reader.read()) == (1_000_000 if way == "down" else 1)
        await finish(writer)
        await until(lambda: connection.writer.cipher is not first)


@pytest.mark.parametrize("link", LINKS)
async def test_a_drain_waits_for_every_channel_on_both_sides(link: str) -> None:
    async with origin(echo) as port:
        for side in ("client", "server"):
            async with tunnel_over(link) as tunnel:
                reader, writer = await through_socks(tunnel, port)
                writer.write(b"x")
                await reader.readexactly(1)
                assert client_connection(tunnel).channel_count == 1
                assert session_of(tunnel.client).channel_count == 1
                assert [peer.channel_count for peer in tunnel.server._peers] == [1]
                closing = asyncio.create_task(getattr(tunnel, side).close(drain=PATIENCE))
                await asyncio.sleep(0.1)
                assert not closing.done()
                writer.write(b"the last words")
                writer.write_eof()
                assert await reader.read() == b"the last words"
                await finish(writer)
                await asyncio.wait_for(closing, PATIENCE)


@pytest.mark.parametrize("link", LINKS)
async def test_a_goodbye_cuts_open_channels_short_and_leaves_nothing(link: str) -> None:
    async with origin(echo) as port, tunnel_over(link) as tunnel:
        short, writer = await through_socks(tunnel, port)
        plain, other = await tunnel.client.open_connection("127.0.0.1", port)
        await tunnel.server.close(drain=0)
        for reader in (short, plain):
            with pytest.raises(ConnectionResetError):
                await reader.read()
        writer.close()
        other.close()


@pytest.mark.parametrize("link", LINKS)
async def test_a_session_that_ends_while_channels_open_leaves_nothing(
    link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tunnel_over(link) as tunnel:
        server = server_connection(tunnel)
        attempts: list[object] = []

        class Attempt:
            def cancel(self) -> None:
                attempts.append("cancelled")

        monkeypatch.setattr(
            type(server), "connect_channel", lambda _connection, _where, _outcome: Attempt()
        )
        dialling = asyncio.create_task(
            tunnel.client._manager.dial(TcpDestination("192.0.2.1", 80), asyncio.Protocol())
        )
        await until(lambda: server.channel_count == 1)
        server.abort()
        with pytest.raises((SessionLost, ChannelRefused)):
            await dialling
        await until(lambda: attempts)
        assert server.windows.promised == 0
        assert server.channel_count == 0
