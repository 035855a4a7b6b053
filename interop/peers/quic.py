"""A QUIC echo (RFC 9000) by aioquic, as two programs; their arguments are those of the functions.

    quic.py serve HOST PORT CERTIFICATE KEY
    quic.py ask   HOST PORT AUTHORITY STREAMS SIZE

Who asks does as browsers do: it prefers QUIC over a connected socket, and takes TCP when that is
refused. It says as JSON which `way` it went, after how many `seconds` it was connected, and whether
all that it sent came back `whole`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

PROTOCOL = ["echo"]

Streams = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def be_server(host: str, port: str, certificate: str, key: str) -> None:
    """Send back what comes on each stream, for ever."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=PROTOCOL)
    configuration.load_cert_chain(certificate, key)
    echoes = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        echo = asyncio.get_running_loop().create_task(_echo(reader, writer))
        echoes.add(echo)
        echo.add_done_callback(echoes.discard)

    await serve(host, int(port), configuration=configuration, stream_handler=begin)
    print("serving", flush=True)
    await asyncio.Event().wait()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
    writer.write_eof()


class Asking(QuicConnectionProtocol):
    """A connection that learns what the network says of its datagrams."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def error_received(self, exc: Exception) -> None:
        if not self.refused.done():
            self.refused.set_exception(exc)


async def ask(host: str, port: str, authority: str, streams: str, size: str) -> None:
    """Have bytes echoed on so many streams at once, and tell how that went."""
    begun = time.monotonic()
    found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=PROTOCOL, server_name=host)
    configuration.load_verify_locations(authority)
    quic = QuicConnection(configuration=configuration)
    where = (str(found[0][4][0]), int(port))
    _, connection = await asyncio.get_running_loop().create_datagram_endpoint(
        partial(Asking, quic), family=found[0][0], remote_addr=where
    )
    connection.connect(connection._transport.get_extra_info("peername"))  # type: ignore[union-attr]
    news: dict[str, object] = {"way": "quic"}
    create: Streams = connection.create_stream
    try:
        await _first(connection.wait_connected(), connection.refused)
    except OSError as error:
        news = {"way": "tcp", "because": type(error).__name__}
        create = partial(asyncio.open_connection, *where)
    news["seconds"] = time.monotonic() - begun
    each = [_send_and_compare(create, int(size)) for _ in range(int(streams))]
    news["whole"] = all(await asyncio.gather(*each))
    print(json.dumps(news))


async def _first(*waits: Awaitable[None]) -> None:
    done, _ = await asyncio.wait(
        [asyncio.ensure_future(wait) for wait in waits], return_when=asyncio.FIRST_COMPLETED
    )
    done.pop().result()


async def _send_and_compare(create: Streams, size: int) -> bool:
    reader, writer = await create()
    data, back = os.urandom(size), hashlib.sha256()
    writer.write(data)
    writer.write_eof()
    while piece := await reader.read(1 << 16):
        back.update(piece)
    return back.digest() == hashlib.sha256(data).digest()


if __name__ == "__main__":
    asyncio.run((be_server if sys.argv[1] == "serve" else ask)(*sys.argv[2:]))
