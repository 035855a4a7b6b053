"""Strangers at the door: noise, half handshakes, crowds, and those who want something else."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import iroh
import pytest

from tests.transports.iroh.conftest import Server
from wraith.errors import IdentityError, ListenError, UsageError
from wraith.testing import Recorder
from wraith.transports.iroh import accepting
from wraith.transports.iroh.accepting import IrohAcceptor
from wraith.transports.iroh.connecting import IrohTransport
from wraith.transports.iroh.endpoint import ALPN
from wraith.values.address import parse_listen
from wraith.values.iroh_peer import NO_RELAY, parse_relay, parse_ticket

Connect = Callable[..., Awaitable[Any]]


@pytest.fixture
async def stranger(server: Server) -> AsyncIterator[Connect]:
    """Connects to the server with nothing but iroh's own means."""
    builder: Any = iroh.EndpointBuilder()  # type: ignore[no-untyped-call]
    builder.apply_minimal()
    builder.relay_mode(iroh.RelayMode.disabled())
    builder.bind_addr("127.0.0.1:0")
    builder.bind_addr("[::1]:0")
    bound: list[iroh.Endpoint] = [await builder.bind()]
    opened: list[iroh.Connection] = []

    async def connect(alpn: bytes = ALPN) -> iroh.Connection:
        key = iroh.EndpointId.from_string(server.acceptor.peer.id)
        where = iroh.EndpointAddr(key, None, [f"127.0.0.1:{server.port}"])
        opened.append(await bound[0].connect(where, alpn))
        return opened[-1]

    yield connect
    opened.clear()
    await bound.pop().close()


async def is_served(server: Server, transport: IrohTransport) -> None:
    """Somebody who means it gets through."""
    number = len(server.recorders)
    left = Recorder()
    stream = await transport.connect(lambda: left, 5)
    stream.write(b"hello")
    right = await server.peer(number)
    await right.until_received(5)
    stream.close()
    await left.until_lost()
    await right.until_eof()
    right.stream.close()
    await right.until_lost()


async def test_the_server_learns_who_comes_and_from_where(
    server: Server, transport: IrohTransport
) -> None:
    await is_served(server, transport)
    (info,) = server.came
    assert info.transport == "iroh"
    assert info.address == "127.0.0.1"
    assert len(bytes.fromhex(info.name)) == 32


async def test_who_is_turned_away_is_told_at_once(server: Server, transport: IrohTransport) -> None:
    server.choose = lambda: None
    left = Recorder()
    await transport.connect(lambda: left, 5)
    assert isinstance(await left.until_lost(), ConnectionResetError)
    assert server.came


async def test_garbage_is_survived(server: Server, transport: IrohTransport) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noisy:
        noisy.connect(("127.0.0.1", server.port))
        for number in range(1000):
            first = bytes([number % 256]) if number % 2 else b"\xc0\0\0\0\1"
            noisy.send(first + os.urandom(1 + number % 1300))
    await is_served(server, transport)
    assert len(server.came) == 1


async def test_three_hundred_connections_that_open_no_stream_are_survived(
    server: Server,
    transport: IrohTransport,
    stranger: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accepting, "HANDSHAKE_TIMEOUT", 2.0)

    async def one() -> str:
        try:
            connection = await stranger()
        except iroh.IrohError:
            return "refused"
        return str(await connection.closed())

    crowd = [asyncio.create_task(one()) for _ in range(300)]
    async with asyncio.timeout(20):
        while not server.recorders:
            await asyncio.sleep(0.01)
        reasons = await asyncio.gather(*crowd)
    # Each of them ended because we ended it, and those that came in were told why.
    assert all(reason == "refused" or reason.startswith("closed by peer") for reason in reasons)
    for recorder in server.recorders:
        assert isinstance(await recorder.until_lost(), OSError)
    await is_served(server, transport)


async def test_beyond_a_few_handshakes_an_address_proves_itself_first(
    server: Server, transport: IrohTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    retried: list[bool] = []
    retry = iroh.Incoming.retry

    async def counted(incoming: iroh.Incoming) -> None:
        retried.append(True)
        await retry(incoming)

    monkeypatch.setattr(iroh.Incoming, "retry", counted)
    monkeypatch.setattr(accepting, "RETRY_ABOVE", 0)
    await is_served(server, transport)
    assert retried == [True]


async def test_beyond_its_share_of_handshakes_an_address_is_refused(
    server: Server, stranger: Connect, transport: IrohTransport
) -> None:
    books = server.acceptor._handshakes
    books.max_per_address = 1
    held = books.begin("127.0.0.1", 1.0)
    assert held.token is not None
    with pytest.raises(iroh.IrohError) as caught:
        await stranger()
    assert "refused" in caught.value.message()
    del caught
    books.end(held.token)
    await is_served(server, transport)


async def test_who_speaks_another_protocol_is_no_peer(
    server: Server, stranger: Connect, transport: IrohTransport
) -> None:
    with pytest.raises(iroh.IrohError) as caught:
        await stranger(b"something-else")
    del caught
    await is_served(server, transport)
    assert len(server.came) == 1


async def test_a_protocol_that_cannot_be_made_harms_nobody_else(
    server: Server, stranger: Connect, transport: IrohTransport, caplog: pytest.LogCaptureFixture
) -> None:
    make = server.choose

    def fails() -> asyncio.Protocol:
        raise ValueError("no protocol")

    server.choose = fails
    connection = await stranger()
    reason = await asyncio.wait_for(connection.closed(), 5)
    assert reason.startswith("closed by peer")
    assert "task failed" in caplog.text
    assert "no protocol" not in caplog.text
    server.choose = make
    await is_served(server, transport)


async def test_streams_live_on_when_the_acceptor_stops(
    server: Server, transport: IrohTransport
) -> None:
    left = Recorder()
    stream = await transport.connect(lambda: left, 5)
    stream.write(b"before")
    right = await server.peer()
    await right.until_received(6)
    await server.acceptor.close()
    stream.write(b" after")
    assert await right.until_received(12) == b"before after"
    stream.close()
    await left.until_lost()
    await server.acceptor.wait_closed()
    assert server.acceptor.addresses == ()
    assert repr(server.acceptor) == "<IrohAcceptor iroh://127.0.0.1:0>"
    assert await right.until_lost() is None


# Where it listens


async def bound(tmp_path: Path, *listen: str) -> tuple[str, ...]:
    addresses = [parse_listen(text) for text in listen]
    acceptor = IrohAcceptor(addresses, NO_RELAY, tmp_path / "iroh.key")
    await acceptor.start(lambda _info: None)
    try:
        return tuple(address.partition("@")[2] for address in acceptor.addresses)
    finally:
        await acceptor.close()
        await acceptor.wait_closed()


async def test_a_loopback_address_binds_loopback_only(tmp_path: Path) -> None:
    for listen in ("iroh://127.0.0.1:0", "iroh://[::1]:0"):
        assert {text.rpartition(":")[0] for text in await bound(tmp_path, listen)} == {
            "127.0.0.1",
            "[::1]",
        }


async def test_no_address_binds_every_interface(tmp_path: Path) -> None:
    hosts = {text.rpartition(":")[0] for text in await bound(tmp_path, "iroh://")}
    assert hosts == {"0.0.0.0", "[::]"}


async def test_a_port_is_taken_in_both_families(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        port = probe.getsockname()[1]
    assert {text.rpartition(":")[2] for text in await bound(tmp_path, f"iroh://*:{port}")} == {
        str(port)
    }


async def test_an_address_of_each_family_is_bound(tmp_path: Path) -> None:
    both = await bound(tmp_path, "iroh://127.0.0.1:0", "iroh://[::1]:0")
    assert len(both) == 2


async def test_the_identity_stays_over_a_restart(tmp_path: Path) -> None:
    ids = set()
    for _ in range(2):
        acceptor = IrohAcceptor([parse_listen("iroh://127.0.0.1:0")], NO_RELAY, tmp_path / "k")
        await acceptor.start(lambda _info: None)
        peer = parse_ticket(acceptor.ticket)
        assert acceptor.peer == peer
        assert acceptor.addresses[0].startswith(f"iroh://{peer.id}@127.0.0.1:")
        ids.add(peer.id)
        assert acceptor.invitation == (
            *("--transport", "iroh", "--peer", acceptor.ticket),
            *("--iroh-relay", "disabled"),
        )
        acceptor.reload(None)  # type: ignore[arg-type]
        await acceptor.close()
        await acceptor.wait_closed()
    assert len(ids) == 1


async def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"iroh://127.0.0.1:{port} cannot be bound") as caught:
            await bound(tmp_path, f"iroh://127.0.0.1:{port}")
    assert "/" not in caught.value.message.replace("iroh://", "")
    assert "--listen iroh://0.0.0.0:4433" in (caught.value.hint or "")


async def test_a_key_that_cannot_be_used_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "iroh.key").write_text("nonsense")
    with pytest.raises(IdentityError):
        await bound(tmp_path, "iroh://127.0.0.1:0")


async def test_without_the_extra_it_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "iroh", None)
    with pytest.raises(UsageError, match="not installed"):
        await bound(tmp_path, "iroh://127.0.0.1:0")
    assert not (tmp_path / "iroh.key").exists()


async def test_a_relay_that_does_not_answer_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "RELAY_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        relay = parse_relay(f"http://127.0.0.1:{silent.getsockname()[1]}")
        acceptor = IrohAcceptor([parse_listen("iroh://127.0.0.1:0")], relay, tmp_path / "k")
        await acceptor.start(lambda _info: None)
        assert acceptor.invitation[4:] == ("--iroh-relay", str(relay))
        await acceptor.close()
        await acceptor.wait_closed()
    assert "no iroh relay reached" in caplog.text
