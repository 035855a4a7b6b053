"""A Python side of events, told what to do line by line; the tests of this package are the other.

    events.py serve ADDRESS-FILE HOST-KEY AUTHORIZED-KEYS       answers wraith-events
    events.py connect SERVER HOST-KEY-FINGERPRINT IDENTITY      connects to wraith-events

Lines of JSON on standard input and output. Each stream is a side with a number, an `EventTarget`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wraith
from wraith.pubsub import EventEnvelope, EventTarget

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SERVICE = "wraith-events"


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Side:
    """One stream with its target."""

    def __init__(self, number: int, pair: Pair, max_frame: int) -> None:
        self.number = number
        self.writer = pair[1]
        self.target = EventTarget(pair, max_frame=max_frame)
        self.listeners: dict[str, Callable[[EventEnvelope], None]] = {}
        self.watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        code = None
        try:
            await self.target.wait_closed()
        except wraith.WraithError as error:
            code = error.code
            self.writer.transport.abort()  # as its owner would
        say(side=self.number, ended=code)

    def listener(self, name: str) -> Callable[[EventEnvelope], None]:
        def listen(event: EventEnvelope) -> None:
            say(side=self.number, heard=[name, event.topic, event.payload])
            if name == "broken":
                raise RuntimeError

        return self.listeners.setdefault(name, listen)

    async def do(self, what: str, *arguments: Any) -> None:
        if what == "listen":
            topic, name, once = arguments
            self.target.add_listener(topic, self.listener(name), once=once)
        elif what == "unlisten":
            topic, name = arguments
            self.target.remove_listener(topic, self.listener(name))
        elif what == "dispatch":
            self.target.dispatch(*arguments)
        elif what == "close":
            await self.target.close()
        elif what == "leave":
            await self.target.close()
            self.writer.close()


class Peer:
    """All sides of this process."""

    def __init__(self) -> None:
        self.sides: dict[int, Side] = {}
        self.max_frame = 16 * 1024 * 1024

    def add(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.sides) + 1
        self.sides[number] = Side(number, (reader, writer), self.max_frame)
        say(side=number, opened=True)

    async def obey(self, connect: Callable[[], Any] | None) -> None:
        lines = asyncio.StreamReader(limit=1 << 26)
        protocol = asyncio.StreamReaderProtocol(lines)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await lines.readline():
            command = json.loads(line)
            code = None
            try:
                if command["do"] == "limit":
                    self.max_frame = command["arguments"][0]
                elif command["do"] == "connect":
                    assert connect is not None
                    self.add(*await connect())
                else:
                    await self.sides[command["side"]].do(command["do"], *command["arguments"])
            except wraith.WraithError as error:
                code = error.code
            say(done=command["id"], code=code)


async def serve(ready: str, host_key: str, authorized_keys: str) -> None:
    peer = Peer()

    def service(_peer: wraith.ServicePeer) -> asyncio.Protocol:
        reader = asyncio.StreamReader()
        return asyncio.StreamReaderProtocol(reader, peer.add)

    options = wraith.ServeOptions(
        listen=["127.0.0.1:0"],
        key=host_key,
        authorized_keys=authorized_keys,
        services={SERVICE: service},
    )
    async with wraith.serve(options) as server:
        Path(ready).write_text(server.listen_addresses[0].removeprefix("tcp://"))
        say(ready=True)
        await peer.obey(None)


async def connect(server: str, host_key: str, identity: str) -> None:
    peer = Peer()
    options = wraith.ConnectOptions(
        server=server, host_key=host_key, identity=[identity], user="tester"
    )
    async with wraith.connect(options) as client:
        say(ready=True)
        await peer.obey(lambda: client.open_connection(SERVICE, 0))


if __name__ == "__main__":
    asyncio.run({"serve": serve, "connect": connect}[sys.argv[1]](*sys.argv[2:]))
