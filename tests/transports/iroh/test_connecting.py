"""Reaching a peer, and what is said where that fails."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import iroh
import pytest

from tests.transports.iroh.conftest import Server
from wraith import ConnectOptions, ServeOptions
from wraith.errors import IdentityError, TransportError, UsageError
from wraith.testing import Recorder
from wraith.transports.iroh import connecting
from wraith.transports.iroh.connecting import IrohTransport
from wraith.transports.iroh.key import read_or_make_key
from wraith.values.address import HostPort
from wraith.values.iroh_peer import NO_RELAY, IrohPeer, parse_ticket

SOMEBODY = str(iroh.SecretKey.from_bytes(b"\x01" * 32).public())


def make() -> asyncio.Protocol:
    return Recorder()


async def test_by_id_and_address_with_a_name_for_it(server: Server) -> None:
    for host in ("127.0.0.1", "localhost"):
        peer = IrohPeer(server.acceptor.peer.id, (HostPort(host, server.port),))
        transport = IrohTransport(peer, NO_RELAY)
        assert transport.server == peer.id
        assert repr(transport) == f"<IrohTransport {peer.id}@{host}:{server.port}>"
        try:
            stream = await transport.connect(make, 5)
            stream.abort()
        finally:
            await transport.close()


async def test_all_sessions_have_one_identity_and_a_transport_has_its_own(
    server: Server, transport: IrohTransport
) -> None:
    other = IrohTransport(parse_ticket(server.acceptor.ticket), NO_RELAY)
    for each in (transport, transport, other):
        (await each.connect(make, 5)).abort()
    await other.close()
    async with asyncio.timeout(5):
        while len(server.came) < 3:
            await asyncio.sleep(0.01)
    names = [info.name for info in server.came]
    assert names[0] == names[1] != names[2]


async def test_a_key_file_is_the_identity(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "client.key"
    read_or_make_key(path)
    names = set()
    for _ in range(2):
        transport = IrohTransport(parse_ticket(server.acceptor.ticket), NO_RELAY, path)
        (await transport.connect(make, 5)).abort()
        await transport.close()
        names.add(server.came[-1].name)
    assert len(names) == 1


async def test_a_key_that_is_not_there_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    peer = IrohPeer(SOMEBODY, (HostPort("127.0.0.1", 9),))
    transport = IrohTransport(peer, NO_RELAY, tmp_path / "absent")
    with pytest.raises(IdentityError, match="no such file"):
        await transport.connect(make, 5)
    await transport.close()


async def test_nobody_there_is_told_in_time() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        peer = IrohPeer(SOMEBODY, (HostPort("127.0.0.1", silent.getsockname()[1]),))
        transport = IrohTransport(peer, NO_RELAY)
        with pytest.raises(TransportError, match=r"no answer within 0\.3 s") as caught:
            await transport.connect(make, 0.3)
        assert caught.value.message.startswith(f"cannot reach the iroh peer {SOMEBODY}@")
        assert "UDP" in (caught.value.hint or "")
        await transport.close()


async def test_somebody_else_at_that_address_is_told(server: Server) -> None:
    transport = IrohTransport(IrohPeer(SOMEBODY, (HostPort("127.0.0.1", server.port),)), NO_RELAY)
    with pytest.raises(TransportError, match="another endpoint answers there"):
        await transport.connect(make, 5)
    await transport.close()


async def test_a_name_that_is_unknown_is_told() -> None:
    transport = IrohTransport(IrohPeer(SOMEBODY, (HostPort("nowhere.invalid", 9),)), NO_RELAY)
    with pytest.raises(TransportError, match="the name is unknown"):
        await transport.connect(make, 5)
    await transport.close()


async def test_an_id_alone_is_told_to_be_nowhere() -> None:
    transport = IrohTransport(IrohPeer(SOMEBODY), NO_RELAY)
    with pytest.raises(TransportError, match="it is not known where it is"):
        await transport.connect(make, 5)
    await transport.close()


@pytest.mark.parametrize("turns", range(0, 60, 3))
async def test_a_connect_that_is_cancelled_anywhere_leaves_nothing(
    server: Server, transport: IrohTransport, turns: int
) -> None:
    left = Recorder()
    task = asyncio.create_task(transport.connect(lambda: left, 5))
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.sleep(turns / 4000)
    task.cancel()
    try:
        stream = await task
    except asyncio.CancelledError:
        assert not hasattr(left, "stream")
    else:
        stream.abort()
    await transport.close()


async def test_a_factory_that_fails_closes_the_connection(
    server: Server, transport: IrohTransport
) -> None:
    def fails() -> asyncio.Protocol:
        raise ValueError("no protocol")

    with pytest.raises(ValueError, match="no protocol"):
        await transport.connect(fails, 5)
    right = await server.peer()
    assert isinstance(await right.until_lost(), ConnectionResetError)


async def test_closing_ends_what_is_still_open_and_twice_is_harmless(
    server: Server, transport: IrohTransport
) -> None:
    left = Recorder()
    (await transport.connect(lambda: left, 5)).write(b"x")
    right = await server.peer()
    await right.until_received(1)
    await transport.close()
    await transport.close()
    assert await left.until_lost() is None
    assert isinstance(await right.until_lost(), ConnectionResetError)


async def test_a_close_that_is_cancelled_still_comes_to_its_end(
    server: Server, transport: IrohTransport
) -> None:
    (await transport.connect(make, 5)).write(b"x")
    assert transport._endpoint is not None
    endpoint = transport._endpoint.result()
    assert repr(endpoint).endswith(" open>")
    task = asyncio.create_task(transport.close())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert repr(endpoint).endswith(" closed>")
    await endpoint.close()
    assert endpoint._bound is None


# Options


def options(**given: object) -> ConnectOptions:
    return ConnectOptions(transport="iroh", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "no iroh peer given"),
        ({"server": "gw.example.com", "peer": SOMEBODY}, "not a server by its name"),
        ({"peer": "nonsense!"}, "cannot use this iroh peer"),
        ({"peer": "endpointaaaa"}, "cannot use this iroh ticket"),
        ({"peer": SOMEBODY, "iroh_relay": "nonsense"}, "cannot use this iroh relay"),
        ({"peer": SOMEBODY, "iroh_relay": "disabled"}, "without a relay nobody can say where"),
    ],
)
def test_options_that_cannot_be_used_are_told_before_anything_is_opened(
    given: dict[str, object], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        options(**given)


def test_a_peer_is_for_iroh_only() -> None:
    with pytest.raises(UsageError, match="a peer is reached by iroh") as caught:
        ConnectOptions(peer=SOMEBODY)
    assert caught.value.hint == "add --transport iroh"


def test_host_keys_are_recorded_by_the_id() -> None:
    made = options(peer=f"{SOMEBODY}@127.0.0.1:4433", iroh_key="~/client.key")
    assert made.known_host_name() == (SOMEBODY, 22)
    transport = made.make_transport()
    assert isinstance(transport, IrohTransport)
    assert transport._key == Path("~/client.key").expanduser()
    assert "client.key" not in repr(made)


def test_one_address_of_each_family_at_most() -> None:
    ServeOptions(listen=["iroh://1.2.3.4:5", "iroh://[2001:db8::1]:5"])
    for listen in (["iroh://", "iroh://1.2.3.4:5"], ["iroh://1.2.3.4:5", "iroh://1.2.3.5:5"]):
        with pytest.raises(UsageError, match="one IPv4 and one IPv6 address at most"):
            ServeOptions(listen=listen)
    with pytest.raises(UsageError, match="cannot use this iroh relay"):
        ServeOptions(listen=["iroh://"], iroh_relay="nonsense")


async def test_without_the_extra_the_step_that_mends_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "iroh", None)
    transport = options(peer=f"{SOMEBODY}@127.0.0.1:9").make_transport()
    with pytest.raises(UsageError, match="not installed") as caught:
        await transport.connect(make, 5)
    assert "wraith-tunnel[iroh]" in (caught.value.hint or "")
    await transport.close()


async def test_what_is_no_error_of_the_bindings_is_not_dressed_up(
    monkeypatch: pytest.MonkeyPatch, transport: IrohTransport
) -> None:
    async def broken(*_arguments: object) -> object:
        raise LookupError("a defect of ours")

    monkeypatch.setattr(connecting, "open_endpoint", broken)
    with pytest.raises(LookupError):
        await transport.connect(make, 5)
