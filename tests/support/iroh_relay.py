"""A relay for iroh endpoints, for tests: plain HTTP, on one address, without checks of identity.

    python -m tests.support.iroh_relay HOST PORT

It speaks what iroh-relay 1.4 speaks (its `protos/`): an endpoint opens a WebSocket at `/relay`,
says who it is, and sends datagrams for others by their ids. A real relay has the endpoint sign the
challenge; this one takes its word, and has no place outside of tests.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import sys

CHALLENGE, AUTH, CONFIRMED = 0, 1, 2
SEND, SEND_BATCH, RECEIVED, RECEIVED_BATCH, GONE, PING, PONG = 4, 5, 6, 7, 8, 9, 10
ID = 32  # bytes

BINARY, CLOSE = 2, 8  # RFC 6455 section 5.2
ACCEPT_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MAX_FRAME = 1 << 20
QUEUE = 4 << 20
"""Bytes that wait for an endpoint before more are dropped, as a network would."""


class WebSocket:
    """The server's side of RFC 6455, as far as a relay needs it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, payload: bytes) -> None:
        """Send a message, unless too much waits already."""
        if self._writer.transport.get_write_buffer_size() > QUEUE:
            return
        size = len(payload)
        if size < 126:
            length = bytes((size,))
        elif size <= 0xFFFF:
            length = b"\x7e" + size.to_bytes(2, "big")
        else:
            length = b"\x7f" + size.to_bytes(8, "big")
        self._writer.write(bytes((0x80 | BINARY,)) + length + payload)

    async def receive(self) -> bytes | None:
        """The next message; None at the end."""
        while True:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(
                    await self._reader.readexactly(2 if size == 126 else 8), "big"
                )
            if size > MAX_FRAME:
                return None
            mask = await self._reader.readexactly(4)
            masked = await self._reader.readexactly(size)
            if first & 0x0F == CLOSE:
                return None
            if first & 0x0F == BINARY:
                return _unmasked(masked, mask)


def _unmasked(data: bytes, mask: bytes) -> bytes:
    whole = mask * (len(data) // 4 + 1)
    number = int.from_bytes(data, "big") ^ int.from_bytes(whole[: len(data)], "big")
    return number.to_bytes(len(data), "big")


class Relay:
    """The endpoints that are here, by their ids."""

    def __init__(self) -> None:
        self._here: dict[bytes, WebSocket] = {}
        self.datagrams = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One HTTP connection, to its end."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            if head[0].split()[1].partition("?")[0] == "/relay":
                key = next(line for line in head if line.lower().startswith("sec-websocket-key"))
                writer.write(_upgrade(key.split(": ", 1)[1], fields["sec-websocket-protocol"]))
                await self._attend(WebSocket(reader, writer))
            else:  # /ping and /generate_204: is anybody there
                writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    async def _attend(self, socket: WebSocket) -> None:
        socket.send(bytes((CHALLENGE,)) + os.urandom(16))
        said = await socket.receive()
        if said is None or said[0] != AUTH:
            return
        name = said[1 : 1 + ID]
        socket.send(bytes((CONFIRMED,)))
        self._here[name] = socket
        try:
            while (message := await socket.receive()) is not None:
                self._take(message, name, socket)
        finally:
            if self._here.get(name) is socket:
                del self._here[name]

    def _take(self, message: bytes, sender: bytes, socket: WebSocket) -> None:
        kind, target = message[0], message[1 : 1 + ID]
        if kind == PING:
            socket.send(bytes((PONG,)) + message[1:])
        elif kind in (SEND, SEND_BATCH):
            receiver = self._here.get(target)
            if receiver is None:
                socket.send(bytes((GONE,)) + target)
            else:
                self.datagrams += 1
                received = RECEIVED if kind == SEND else RECEIVED_BATCH
                receiver.send(bytes((received,)) + sender + message[1 + ID :])


def _upgrade(key: str, protocols: str) -> bytes:
    digest = hashlib.sha1(key.encode() + ACCEPT_KEY).digest()
    accept = base64.b64encode(digest).decode()
    chosen = protocols.split(",")[0].strip()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {chosen}\r\n\r\n"
    ).encode()


async def _main(host: str, port: int) -> None:
    server = await asyncio.start_server(Relay().serve, host, port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
