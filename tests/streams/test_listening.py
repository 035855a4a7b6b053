"""Listening sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from wraith.errors import ListenError
from wraith.streams.listening import listen
from wraith.values.address import HostPort, UnixPath


async def test_port_0_takes_one_free_port_for_both_families() -> None:
    listener = await listen(HostPort("", 0), asyncio.Protocol)
    ports = {address.port for address in listener.addresses if isinstance(address, HostPort)}
    assert len(ports) == 1
    assert listener.port in ports
    listener.close()


async def test_a_port_in_use_is_one_sentence_with_the_next_step() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            await listen(HostPort("127.0.0.1", port), asyncio.Protocol, hint="take another")
    assert str(caught.value) == f"127.0.0.1:{port} is already in use"
    assert caught.value.hint == "take another"


async def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:0 cannot be bound"):
        await listen(HostPort("192.0.2.1", 0), asyncio.Protocol)


async def test_an_unknown_name_cannot_be_bound() -> None:
    with pytest.raises(ListenError, match="the name is unknown"):
        await listen(HostPort("no-such-host.invalid", 0), asyncio.Protocol)


async def test_a_unix_socket_is_for_its_owner_only_and_goes_with_the_listener(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sock"
    listener = await listen(UnixPath(str(path)), asyncio.Protocol)
    assert path.stat().st_mode & 0o777 == 0o600
    assert listener.port == 0
    listener.close()
    assert not path.exists()


async def test_a_unix_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    (await listen(UnixPath(str(path)), asyncio.Protocol)).close()


async def test_a_unix_socket_that_answers_is_left_alone(tmp_path: Path) -> None:
    path = UnixPath(str(tmp_path / "sock"))
    first = await listen(path, asyncio.Protocol)
    with pytest.raises(ListenError, match="already in use"):
        await listen(path, asyncio.Protocol)
    first.close()


async def test_a_file_is_never_taken_for_a_stale_socket(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    with pytest.raises(ListenError):
        await listen(UnixPath(os.fspath(path)), asyncio.Protocol)
    assert path.read_text() == "precious"
