"""SOCKS5 UDP ASSOCIATE through a whole tunnel."""

from __future__ import annotations

import asyncio
import logging
import os
import socket

import pytest

from tests.support.datagrams import Program, ear, refusal
from tests.support.journeys import LINKS, tunnel_over
from tests.support.loops import LOOPS, NewLoop, run_under
from tests.support.paths import PATHS, session_of, take
from wraith.errors import ChannelRefused, Refusal
from wraith.server import datagrams
from wraith.ssh import server_session
from wraith.testing import Loopback

NOT_ALLOWED, COMMAND_NOT_SUPPORTED, GENERAL_FAILURE = 2, 7, 1


async def the_journey(tunnel: Loopback) -> None:
    """By address and by name, small and large, to two partners at once."""
    async with ear(echo=True) as one, ear(echo=True) as other, Program(tunnel.client) as program:
        for host in ("127.0.0.1", "localhost"):
            for size in (1, 512, 9000, 60_000):
                payload = os.urandom(size)
                assert await program.asks(payload, host, one.port) == payload
        for partner in (one, other, one):
            payload = os.urandom(100)
            assert await program.asks(payload, "127.0.0.1", partner.port) == payload
        (_, first), *_ = [await one.next() for _ in range(2)]
        _, second = await other.next()
        assert first == second, "one socket serves all partners"


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_datagrams_under_every_loop(link: str, new_loop: NewLoop) -> None:
    async def work() -> None:
        async with tunnel_over(link) as tunnel:
            await the_journey(tunnel)

    assert run_under(new_loop, work()).contexts == []


@pytest.mark.parametrize("path", PATHS)
async def test_datagrams_on_every_path(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, path)
    async with tunnel_over("tcp", serve={"rekey_bytes": 100_000}, rekey_bytes=100_000) as tunnel:
        await the_journey(tunnel)


async def test_an_answer_comes_from_a_partner_only() -> None:
    async with (
        tunnel_over("memory") as tunnel,
        ear() as partner,
        ear() as stranger,
        Program(tunnel.client) as program,
    ):
        program.send(b"hello", "127.0.0.1", partner.port)
        _, where = await partner.next()
        stranger.transport.sendto(b"let me in", where)
        await program.ear.hears_nothing()
        partner.transport.sendto(b"welcome", where)
        assert (await program.receive())[1] == b"welcome"


async def test_an_empty_datagram_is_a_datagram() -> None:
    async with (
        tunnel_over("memory") as tunnel,
        ear() as partner,
        Program(tunnel.client) as program,
    ):
        program.send(b"", "127.0.0.1", partner.port)
        assert (await partner.next())[0] == b""


async def test_only_the_program_itself_is_heard() -> None:
    async with (
        tunnel_over("memory") as tunnel,
        ear() as partner,
        Program(tunnel.client) as program,
        ear() as neighbour,
    ):
        program.send(b"mine", "127.0.0.1", partner.port)
        assert (await partner.next())[0] == b"mine"
        parcel = b"\0\0\0\1\x7f\0\0\1" + partner.port.to_bytes(2, "big") + b"not mine"
        neighbour.transport.sendto(parcel, program.relay)
        await partner.hears_nothing()


async def test_a_program_that_names_its_port_is_heard_from_no_other() -> None:
    async with (
        tunnel_over("memory") as tunnel,
        ear() as partner,
        Program(tunnel.client, knows_port=True) as program,
        ear() as neighbour,
        ear(host="127.0.0.2") as elsewhere,
    ):
        parcel = b"\0\0\0\1\x7f\0\0\1" + partner.port.to_bytes(2, "big") + b"first!"
        neighbour.transport.sendto(parcel, program.relay)
        elsewhere.transport.sendto(parcel, program.relay)
        await partner.hears_nothing()
        program.send(b"mine", "127.0.0.1", partner.port)
        assert (await partner.next())[0] == b"mine"


async def test_fragments_and_nonsense_are_dropped_and_the_association_lives() -> None:
    async with (
        tunnel_over("memory") as tunnel,
        ear() as partner,
        Program(tunnel.client) as program,
    ):
        program.send(b"a piece", "127.0.0.1", partner.port, header=b"\0\0\1")
        for nonsense in (b"", b"\0\0\0", b"\0\0\0\2\0\0", b"\0\0\0\3\xffshort"):
            program._transport.sendto(nonsense, program.relay)
        program.send(b"?", "no/host", 1)
        program.send(b"whole", "127.0.0.1", partner.port)
        assert (await partner.next())[0] == b"whole"


async def test_each_datagram_is_held_against_the_rules() -> None:
    rules = ["deny 127.0.0.2", "deny *.forbidden.example"]
    async with (
        tunnel_over("memory", serve={"rules": rules}) as tunnel,
        ear() as forbidden,
        ear() as allowed,
        Program(tunnel.client) as program,
    ):
        program.send(b"no", "127.0.0.2", forbidden.port)
        program.send(b"no", "0.0.0.0", 1)
        program.send(b"no", "169.254.169.254", 80)
        program.send(b"no", "224.0.0.251", 5353)
        program.send(b"no", "a.forbidden.example", 53)
        program.send(b"no", "wraith-echo", 0)
        program.send(b"no", "nowhere.invalid", 53)
        program.send(b"yes", "127.0.0.1", allowed.port)
        assert (await allowed.next())[0] == b"yes"
        await forbidden.hears_nothing()


async def test_new_rules_hold_for_partners_known_so_far() -> None:
    async with (
        tunnel_over("memory") as tunnel,
        ear() as partner,
        Program(tunnel.client) as program,
    ):
        program.send(b"before", "127.0.0.1", partner.port)
        _, where = await partner.next()
        tunnel.server.rules = type(tunnel.server.rules).parse(["deny *"])
        partner.transport.sendto(b"too late", where)
        program.send(b"after", "127.0.0.1", partner.port)
        await partner.hears_nothing()
        await program.ear.hears_nothing()


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        ("", 0),
        ("restrict", NOT_ALLOWED),
        ("no-port-forwarding", NOT_ALLOWED),
        ('permitopen="127.0.0.1:*"', NOT_ALLOWED),
        ('permitopen="wraith-udp:*",permitopen="127.0.0.1:*"', 0),
    ],
)
async def test_a_key_with_limits_has_datagrams_only_when_they_are_named(
    options: str, reply: int
) -> None:
    async with tunnel_over("memory") as tunnel:
        line = tunnel.serve_options.authorized_keys
    assert isinstance(line, bytes)
    keys = {"authorized_keys": options.encode() + b" " + line}
    identity = tunnel.connect_options.identity
    async with tunnel_over("memory", serve=keys, identity=identity) as tunnel, ear() as partner:
        if reply:
            assert await refusal(tunnel.client) == reply
            return
        async with Program(tunnel.client) as program:
            program.send(b"?", "127.0.0.1", partner.port)
            assert (await partner.next())[0] == b"?"


async def test_permitopen_holds_for_each_datagram() -> None:
    async with tunnel_over("memory") as tunnel:
        line = tunnel.serve_options.authorized_keys
    assert isinstance(line, bytes)
    identity = tunnel.connect_options.identity
    async with ear() as named, ear() as other:
        permits = f'permitopen="wraith-udp:*",permitopen="127.0.0.1:{named.port}" '
        keys = {"authorized_keys": permits.encode() + line}
        async with (
            tunnel_over("memory", serve=keys, identity=identity) as tunnel,
            Program(tunnel.client) as program,
        ):
            program.send(b"no", "127.0.0.1", other.port)
            program.send(b"yes", "127.0.0.1", named.port)
            assert (await named.next())[0] == b"yes"
            await other.hears_nothing()


async def test_rules_may_close_the_service() -> None:
    async with tunnel_over("memory", serve={"rules": ["deny wraith-*"]}) as tunnel:
        assert await refusal(tunnel.client) == NOT_ALLOWED


async def test_a_server_without_datagrams_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = "_process_capabilities_at_wraith_global_request"
    monkeypatch.delattr(server_session._Connection, handler)
    async with tunnel_over("memory") as tunnel:
        assert await refusal(tunnel.client) == COMMAND_NOT_SUPPORTED
        assert await session_of(tunnel.client).capabilities() == frozenset()


async def test_nothing_goes_around_a_proxy_of_the_server() -> None:
    behind = {"proxy": "socks5://127.0.0.1:9"}
    async with tunnel_over("memory", serve=behind) as tunnel:
        assert await session_of(tunnel.client).capabilities() == frozenset()
        assert await refusal(tunnel.client) == COMMAND_NOT_SUPPORTED
        with pytest.raises(ChannelRefused) as caught:
            await tunnel.client.open_connection("wraith-udp", 0)
        assert caught.value.reason is Refusal.UNSUPPORTED


async def test_what_a_server_can_do_is_asked_once() -> None:
    async with tunnel_over("memory") as tunnel:
        session = session_of(tunnel.client)
        assert await session.capabilities() == {"udp"}
        assert await session.capabilities() is await session.capabilities()


async def test_the_association_ends_with_its_connection() -> None:
    async with tunnel_over("memory") as tunnel:
        session = session_of(tunnel.client)
        for end in (asyncio.StreamWriter.close, asyncio.StreamWriter.write_eof):
            async with Program(tunnel.client) as program:
                assert session.channel_count == 1
                end(program.writer)
                async with asyncio.timeout(5):
                    while session.channel_count:
                        await asyncio.sleep(0.01)


@pytest.mark.parametrize("who", ["server", "client"])
async def test_its_connection_is_reset_when_the_session_ends(who: str) -> None:
    async with tunnel_over("tcp") as tunnel, Program(tunnel.client) as program:
        if who == "server":
            (peer,) = tunnel.server._peers
            peer.abort()
        else:
            session_of(tunnel.client).abort()
        await program.until_ended()


async def test_a_program_that_leaves_at_any_moment_leaves_nothing() -> None:
    async with tunnel_over("memory") as tunnel:
        session = session_of(tunnel.client)
        proxy = tunnel.client.socks5_addresses[0]
        for turns in range(12):
            _, writer = await asyncio.open_connection(proxy.host, proxy.port)
            writer.write(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
            for _ in range(turns):
                await asyncio.sleep(0)
            writer.transport.abort()
        async with asyncio.timeout(5):
            await asyncio.sleep(0.05)
            while session.channel_count:
                await asyncio.sleep(0.01)


async def test_while_there_is_no_session_the_program_waits_and_is_told() -> None:
    async with tunnel_over("memory", connect_timeout=0.3) as tunnel:
        await tunnel.server.close(drain=0)
        async with asyncio.timeout(5):
            while tunnel.client._manager.current is not None:
                await asyncio.sleep(0.01)
        assert await refusal(tunnel.client) == GENERAL_FAILURE


async def test_too_many_associations_of_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "MOST_ASSOCIATIONS", 1)
    async with tunnel_over("memory") as tunnel:
        async with Program(tunnel.client):
            assert await refusal(tunnel.client) == GENERAL_FAILURE
        async with asyncio.timeout(5):
            while session_of(tunnel.client).channel_count:
                await asyncio.sleep(0.01)
        async with Program(tunnel.client):
            pass


async def test_a_program_that_does_not_read_costs_datagrams_and_no_memory() -> None:
    async with (
        tunnel_over("tcp") as tunnel,
        ear() as partner,
        Program(tunnel.client) as program,
    ):
        program.send(b"hello", "127.0.0.1", partner.port)
        _, where = await partner.next()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
            flood.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for _ in range(400):
                partner.transport.sendto(bytes(50_000), where)
                await asyncio.sleep(0)
        partner.transport.sendto(b"still here", where)
        async with asyncio.timeout(10):
            while (await program.receive())[1] != b"still here":
                if program.ear.heard.empty():
                    await asyncio.sleep(0.05)
                    partner.transport.sendto(b"still here", where)


async def test_no_destination_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with tunnel_over("memory") as tunnel, Program(tunnel.client) as program:
            program.send(b"?", "secret-place.invalid", 5353)
            program.send(b"?", "127.77.66.55", 5353)
            await asyncio.sleep(0.3)
            (peer,) = tunnel.server._peers
            said = repr([peer._associations, *peer._associations._open, tunnel.client])
    assert "secret-place" not in caplog.text + said
    assert "127.77.66.55" not in caplog.text + said


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_a_program_that_comes_by_ipv6_has_its_relay_there() -> None:
    async with tunnel_over("memory", socks5="[::1]:0") as tunnel, ear(echo=True) as partner:
        proxy = tunnel.client.socks5_addresses[0]
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"\5\1\0\5\3\0\4" + bytes(16 + 2))
        async with asyncio.timeout(5):
            answer = await reader.readexactly(2 + 4 + 16 + 2)
        assert answer[:6] == b"\5\0\5\0\0\4"
        assert answer[6:22] == socket.inet_pton(socket.AF_INET6, "::1")
        async with ear(host="::1") as program:
            relay = ("::1", int.from_bytes(answer[22:], "big"))
            parcel = b"\0\0\0\1\x7f\0\0\1" + partner.port.to_bytes(2, "big") + b"by way of six"
            program.transport.sendto(parcel, relay)
            assert (await program.next())[0] == parcel
        writer.close()
