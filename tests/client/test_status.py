"""What a client says of itself: true sums on every path, and nothing about destinations."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
from pathlib import Path

import pytest

from tests.support.datagrams import Program, ear
from tests.support.journeys import LINKS, echo, finish, origin, through_socks, tunnel_over
from tests.support.paths import PATHS, take
from wraith.client import status_socket
from wraith.client.connect import Client
from wraith.client.status import InterfaceStatus, Status
from wraith.client.status_socket import ask_all, open_status_socket
from wraith.errors import ListenError
from wraith.state.folder import runtime_dir
from wraith.values.address import HostPort


def interface(client: Client, kind: str) -> InterfaceStatus:
    (found,) = [each for each in client.status().interfaces if each.kind == kind]
    return found


async def until_idle(client: Client, kind: str) -> InterfaceStatus:
    async with asyncio.timeout(5):
        while interface(client, kind).open:
            await asyncio.sleep(0.005)
    return interface(client, kind)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("path", PATHS)
async def test_each_interface_counts_its_connections_and_bytes(
    path: str, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, path)
    payload = os.urandom(700_000)

    async def there_and_back(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str
    ) -> None:
        writer.write(payload)
        assert await reader.readexactly(len(payload)) == payload
        now = interface(tunnel.client, kind)
        assert (now.open, now.bytes_in, now.bytes_out) == (1, len(payload), len(payload))
        await finish(writer)

    async with (
        origin(echo) as port,
        tunnel_over(
            link,
            local_forwards=[f"127.0.0.1:0:127.0.0.1:{port}"],
            remote_forwards=[f"0:127.0.0.1:{port}"],
        ) as tunnel,
    ):
        await there_and_back(*await through_socks(tunnel, port), "socks5")
        (local,) = tunnel.client.local_forward_addresses
        (remote,) = tunnel.client.remote_forward_addresses
        for where, kind in ((local, "forward"), (remote, "remote-forward")):
            assert isinstance(where, HostPort)
            await there_and_back(*await asyncio.open_connection("127.0.0.1", where.port), kind)
        for kind in ("socks5", "forward", "remote-forward"):
            ended = await until_idle(tunnel.client, kind)
            assert (ended.total, ended.bytes_in, ended.bytes_out) == (1, len(payload), len(payload))
        assert tunnel.client.status().traffic == (3 * len(payload), 3 * len(payload))


async def test_the_way_is_known_where_the_transport_knows_it() -> None:
    async with tunnel_over("iroh") as tunnel:
        path = tunnel.client.path
        assert path is not None
        assert path.kind == "direct"
        status = tunnel.client.status()
        assert (status.transport, status.path) == ("iroh", "direct")
        assert status.round_trip is not None
        assert 0 <= status.round_trip < 1
    assert tunnel.client.path is None
    async with tunnel_over("tcp") as tunnel:
        assert tunnel.client.path is None
        assert tunnel.client.status().path == ""


async def test_associations_count_too() -> None:
    async with tunnel_over("memory") as tunnel, ear(echo=True) as partner:
        async with Program(tunnel.client) as program:
            await program.asks(b"x" * 100, "127.0.0.1", partner.port)
            now = interface(tunnel.client, "socks5")
            assert (now.open, now.bytes_in, now.bytes_out) == (1, 107, 107)
        assert (await until_idle(tunnel.client, "socks5")).bytes_in == 107


async def test_the_session_is_described_and_no_destination_is() -> None:
    async with origin(echo) as port, tunnel_over("tcp") as tunnel:
        _, writer = await through_socks(tunnel, port)
        status = tunnel.client.status()
        assert (status.state, status.transport, status.channels) == ("connected", "tcp", 1)
        assert (status.reason, status.retry_in) == ("", None)
        assert status.since >= 0
        assert str(port) not in json.dumps(dataclasses.asdict(status))
        await finish(writer)
        await tunnel.server.close(drain=0)
        async with asyncio.timeout(5):
            while tunnel.client.status().state != "waiting":
                await asyncio.sleep(0.01)
        status = tunnel.client.status()
        assert status.reason
        assert status.retry_in is not None
        assert status.round_trip is None


def quiet() -> Status:
    return Status("connected", 1.0, "gw:22", "tcp", "", None, 0, "", None, ())


async def test_this_user_alone_may_ask_and_gets_an_answer() -> None:
    offered = await open_status_socket(quiet)
    (path,) = runtime_dir().iterdir()
    assert path.name == f"connect-{os.getpid()}.sock"
    assert (path.stat().st_mode & 0o777, runtime_dir().stat().st_mode & 0o777) == (0o600, 0o700)
    answers = await asyncio.to_thread(ask_all)
    assert answers == {os.getpid(): {**dataclasses.asdict(quiet()), "interfaces": []}}
    offered.close()
    assert not runtime_dir().exists()


async def test_a_folder_that_others_may_enter_has_no_socket(tmp_path: Path) -> None:
    runtime_dir().mkdir(mode=0o755)
    with pytest.raises(ListenError, match="is not this user's alone"):
        await open_status_socket(quiet)
    runtime_dir().rmdir()
    runtime_dir().write_text("a file")
    with pytest.raises(ListenError, match="cannot be made"):
        await open_status_socket(quiet)


async def test_what_a_killed_client_left_is_cleared_and_one_that_hangs_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status_socket, "PATIENCE", 0.1)
    assert ask_all() == {}
    runtime_dir().mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime_dir() / "connect-1.sock"))
    silent = socket.socket(socket.AF_UNIX)
    with silent:
        silent.bind(str(runtime_dir() / "connect-2.sock"))
        silent.listen()
        (runtime_dir() / "connect-x.sock").write_text("no process")
        assert ask_all() == {}
    left = {"connect-2.sock", "connect-x.sock"}
    assert {path.name for path in runtime_dir().iterdir()} == left, "and nothing answers there now"
    offered = await open_status_socket(quiet)
    assert {path.name for path in runtime_dir().iterdir()} == {
        "connect-x.sock",
        f"connect-{os.getpid()}.sock",
    }, "the next client clears the rest away"
    offered.close()
