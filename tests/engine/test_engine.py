"""An engine and its host: streams, servers, and the end of either."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine_host import EngineHost, Refused, engine_host
from tests.support.journeys import origin
from wraith.engine import bridge as bridge_module
from wraith.engine import engine as engine_module
from wraith.engine.control import Control, run
from wraith.engine.engine import Engine
from wraith.engine.host_socket import HostSocket
from wraith.errors import UsageError
from wraith.server.options import ServeOptions
from wraith.server.serve import Server, serve
from wraith.ssh.keys import generate

KEY = generate("a host's user")
HOST_KEY = generate("a server")


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    async with engine_host() as host:
        yield host


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    options = ServeOptions(
        listen=["127.0.0.1:0"],
        key=HOST_KEY.export(),
        authorized_keys=KEY.public.line().encode(),
    )
    async with serve(options) as server:
        yield server


def options(where: Server | str, **more: Any) -> dict[str, Any]:
    """As the package sends them: the key is the first blob."""
    address = where if isinstance(where, str) else where.listen_addresses[0]
    return {
        "server": address.removeprefix("tcp://"),
        "user": "tester",
        "identity": {"blob": 0},
        "hostKey": HOST_KEY.public.fingerprint,
        **more,
    }


async def connect(host: EngineHost, server: Server, where: str, number: int = 1) -> Any:
    return await host.open(
        "connect", number, blobs=[KEY.export()], options=options(server), destination=where
    )


async def test_a_stream_goes_out_and_comes_back(host: EngineHost, server: Server) -> None:
    reader, writer = await connect(host, server, "wraith-echo:0")
    data = os.urandom(3_000_000)
    host.tell("end", stream=1, bytes=len(data))  # said before they are sent: it is a number
    writer.write(data)
    got = await reader.readexactly(len(data))
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert await host.event() == {"event": "ended", "stream": 1, "bytes": len(data)}
    assert await host.event() == {"event": "closed", "stream": 1, "error": None}
    assert await reader.read() == b""
    while server.session_count:  # the session was the stream's own
        await asyncio.sleep(0.01)


async def test_a_socket_that_ends_unannounced_is_no_end(host: EngineHost, server: Server) -> None:
    ended = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            ended.set()
        writer.close()

    async with origin(handler) as port:
        _, writer = await connect(host, server, f"127.0.0.1:{port}")
        writer.write(b"half of a ")
        writer.write_eof()
        await asyncio.sleep(0.05)
        assert not ended.is_set()  # nothing is passed on before the host has said what it means
        host.tell("abort", stream=1)
        async with asyncio.timeout(5):
            await ended.wait()
        told = await host.event()
        assert told["error"]["code"] == "WRAITH_CHANNEL_FAILED"


async def test_a_number_that_is_not_reached_is_no_end_either(
    host: EngineHost, server: Server
) -> None:
    reader, writer = await connect(host, server, "wraith-echo:0")
    host.tell("end", stream=1, bytes=5)
    writer.write(b"four")
    assert await reader.readexactly(4) == b"four"
    assert host.events.empty()
    writer.write(b"!")
    assert await reader.readexactly(1) == b"!"
    assert (await host.event())["bytes"] == 5


async def test_a_far_side_that_closes_is_read_to_its_end(host: EngineHost, server: Server) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 1_000_000)
        writer.close()

    async with origin(handler) as port:
        reader, writer = await connect(host, server, f"127.0.0.1:{port}")
        writer.write(b"nobody reads this")
        assert len(await reader.read()) == 1_000_000
        assert (await host.event())["bytes"] == 1_000_000
        host.tell("end", stream=1, bytes=17)
        assert await host.event() == {"event": "closed", "stream": 1, "error": None}


async def test_what_lingers_is_cut_in_the_end(
    host: EngineHost, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_module, "LINGER", 0.05)
    release = asyncio.Event()

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        await release.wait()
        writer.close()

    async with origin(handler) as port:
        _, writer = await connect(host, server, f"127.0.0.1:{port}")
        size = 16_000_000  # more than windows and sockets hold: it cannot all be sent
        assert (await host.event())["event"] == "ended"
        sending = asyncio.create_task(_send(writer, size))
        host.tell("end", stream=1, bytes=size)
        done, _ = await asyncio.wait([sending], timeout=0.3)
        assert not done  # nobody reads, and so it is held up rather than kept
        host.tell("abort", stream=1)
        await asyncio.wait([sending])
        release.set()
        assert (await host.event())["event"] == "closed"


async def _send(writer: asyncio.StreamWriter, size: int) -> None:
    try:
        for _ in range(size // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()
    except ConnectionError:
        pass


async def test_a_server_that_goes_away_is_told(host: EngineHost, server: Server) -> None:
    reader, _ = await connect(host, server, "wraith-echo:0")
    await server.close(drain=0)
    told = await host.event()
    assert told["error"]["code"] in ("WRAITH_CHANNEL_FAILED", "WRAITH_SESSION_LOST")
    assert await reader.read() == b""


@pytest.mark.parametrize(
    ("changed", "where", "code"),
    [
        ({}, "127.0.0.1:1", "WRAITH_CHANNEL_REFUSED"),
        ({}, "nonsense", "WRAITH_USAGE"),
        ({"server": "127.0.0.1:1"}, "wraith-echo:0", "WRAITH_TRANSPORT_FAILED"),
        ({"hostKey": "SHA256:" + "A" * 43}, "wraith-echo:0", "WRAITH_HOST_KEY_MISMATCH"),
        ({"identity": {"blob": 1}}, "wraith-echo:0", "WRAITH_IDENTITY"),
        ({"unknown": 1}, "wraith-echo:0", "WRAITH_USAGE"),
    ],
)
async def test_a_refusal_is_told_by_its_code_and_leaves_nothing(
    host: EngineHost, server: Server, changed: dict[str, Any], where: str, code: str
) -> None:
    with pytest.raises(Refused) as caught:
        await host.open(
            "connect",
            1,
            blobs=[KEY.export(), b"no key"],
            options=options(server, **changed),
            destination=where,
        )
    assert caught.value.code == code
    while server.session_count:
        await asyncio.sleep(0.01)


async def test_an_attempt_is_taken_back(host: EngineHost) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with origin(silent) as port:
        number, answer = host.ask(
            "connect",
            stream=1,
            token={"blob": 1},
            blobs=[KEY.export(), b"t" * 16],
            options=options(f"127.0.0.1:{port}"),
            destination="wraith-echo:0",
        )
        await asyncio.sleep(0.05)
        host.tell("cancel", id=number)
        assert (await answer)["error"]["code"] == "ABORT_ERR"
        host.tell("cancel", id=number)  # too late, and no harm


async def test_a_host_that_does_not_take_its_stream_loses_it(
    host: EngineHost, server: Server
) -> None:
    host.directory.joinpath("s").unlink()
    with pytest.raises(Refused) as caught:
        await connect(host, server, "wraith-echo:0")
    assert caught.value.code == "WRAITH_CHANNEL_FAILED"
    while server.session_count:
        await asyncio.sleep(0.01)


# Servers of the host


async def open_server(host: EngineHost, number: int = 1, **more: Any) -> dict[str, Any]:
    return await host.call(
        "serve",
        server=number,
        services=["wraith-hello"],
        options={
            "listen": "127.0.0.1:0",
            "key": {"blob": 0},
            "authorizedKeys": {"blob": 1},
            **more,
        },
        blobs=[HOST_KEY.export(), KEY.public.line().encode()],
    )


async def knock(host: EngineHost, facts: dict[str, Any], number: int) -> asyncio.Task[Any]:
    address = facts["result"]["listenAddresses"][0]
    return asyncio.create_task(
        host.open(
            "connect",
            number,
            blobs=[KEY.export()],
            options=options(address),
            destination="wraith-hello:7",
        )
    )


async def test_a_server_tells_who_comes_and_the_host_takes_it(host: EngineHost) -> None:
    facts = await open_server(host)
    assert facts["result"]["hostKeyFingerprint"] == HOST_KEY.public.fingerprint
    knocking = await knock(host, facts, 1)
    told = await host.event()
    arrival = told.pop("arrival")
    assert told == {
        "event": "connection",
        "server": 1,
        "service": "wraith-hello",
        "user": "tester",
        "keyFingerprint": KEY.public.fingerprint,
        "principals": [],
        "transport": "tcp",
        "remoteAddress": "127.0.0.1",
    }
    _, near = await knocking
    near.write(b"early")  # before it is accepted: nothing is lost
    reader, writer = await host.open("accept", 2, arrival=arrival)
    assert await reader.readexactly(5) == b"early"
    writer.write(b"hello")
    host.tell("end", stream=2, bytes=5)
    assert await host.event() == {"event": "ended", "stream": 1, "bytes": 5}
    assert (await host.call("close-server", server=1, drain=0)).get("result") == {}
    assert (await host.call("close-server", server=1)).get("result") == {}
    closed = [await host.event(), await host.event()]
    assert {event["stream"] for event in closed} == {1, 2}


async def test_an_arrival_that_is_refused_or_forgotten_is_cut(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "ACCEPT_TIMEOUT", 0.2)
    facts = await open_server(host)
    for number in (1, 2):
        knocking = await knock(host, facts, number)
        arrival = (await host.event())["arrival"]
        if number == 1:
            host.tell("refuse", arrival=arrival)
        reader, _ = await knocking
        assert await reader.read() == b""
        assert (await host.event())["error"]["code"] == "WRAITH_CHANNEL_FAILED"
        with pytest.raises(Refused):
            await host.open("accept", 10 + number, arrival=arrival)


async def test_a_server_that_cannot_be_is_told(host: EngineHost) -> None:
    assert (await open_server(host, listen="127.0.0.1:99999"))["error"]["code"] == "WRAITH_USAGE"
    first = await open_server(host)
    taken = first["result"]["listenAddresses"][0]
    second = await open_server(host, 2, listen=taken)
    assert second["error"]["code"] == "WRAITH_LISTEN_FAILED"
    assert second["error"]["reason"] == "EADDRINUSE"


# The end


async def test_a_host_that_vanishes_takes_all_with_it(host: EngineHost, server: Server) -> None:
    await open_server(host)
    reader, writer = await connect(host, server, "wraith-echo:0")
    writer.write(b"half of a ")
    await reader.read(1)
    began = asyncio.get_running_loop().time()
    host.writer.close()
    assert await host.engine == 0
    assert asyncio.get_running_loop().time() - began < 1
    assert not host.directory.exists()
    while server.session_count:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "message",
    [
        b"not a control channel",
        b'\0\0\0\x0e{"op":"wrong"}',
        b'\0\0\0\x19{"op":"end","stream":"x"}',
        b'\0\0\0\x22{"op":"accept","id":1,"stream":2}\n',
    ],
)
async def test_a_host_that_speaks_nonsense_ends_the_engine(
    host: EngineHost, message: bytes
) -> None:
    host.writer.write(message)
    async with asyncio.timeout(5):
        assert await host.engine == 1
    assert not host.directory.exists()


async def test_a_host_that_vanishes_in_the_middle_of_everything_leaves_nothing(
    host: EngineHost,
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    facts = await open_server(host)
    knocking = await knock(host, facts, 1)
    assert (await host.event())["event"] == "connection"
    await knocking
    async with origin(silent) as port:
        host.ask(
            "connect",
            stream=2,
            token={"blob": 1},
            blobs=[KEY.export(), b"t" * 16],
            options=options(f"127.0.0.1:{port}"),
            destination="wraith-echo:0",
        )
        await asyncio.sleep(0.05)
        host.writer.close()
        assert await host.engine == 0
    assert not host.directory.exists()


async def test_a_host_that_reads_nothing_holds_the_far_side_up(
    host: EngineHost, server: Server
) -> None:
    sent = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(400):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000
        writer.close()

    async with origin(flood) as port:
        reader, writer = await connect(host, server, f"127.0.0.1:{port}")
        transport = writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        before = -1
        while sent != before or not sent:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 30_000_000
        transport.resume_reading()
        size = 0
        while data := await reader.read(1 << 20):
            size += len(data)
        assert size == 40_000_000
        host.tell("end", stream=1, bytes=0)


async def test_objects_say_what_they_are_and_no_more(host: EngineHost, server: Server) -> None:
    def told(_message: object) -> None: ...

    socket_of_host = HostSocket(host.directory)
    assert repr(socket_of_host) == f"<HostSocket {host.directory}>"
    assert repr(Engine(socket_of_host, told, told)) == "<Engine streams=0 servers=0>"
    assert repr(Control(socket_of_host)) == "<Control open>"


async def test_a_descriptor_that_is_no_socket_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "host"
    directory.mkdir()
    with (tmp_path / "file").open("wb") as file, pytest.raises(UsageError, match="no socket"):
        await run(file.fileno(), directory)
    assert not directory.exists()
