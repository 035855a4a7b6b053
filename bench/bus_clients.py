"""`python -m bench.bus_clients PORT IDENTITY FINGERPRINT SESSIONS SUBSCRIBERS`: clients of the bus.

Opens the sessions, spreads the subscribers over them, and says so on its output. Then it takes one
load a line on its input, as JSON, and answers with what became of it. One process is all of the
clients, so that it and the server have a core each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import time
from dataclasses import dataclass

import wraith
from wraith.protocol.envelope import encode_frame, subscribe
from wraith.streams.hub import new_event_loop

AT_ONCE = 16
STEP = 0.005  # seconds between two writes of the publisher
SETTLE = 10.0


@dataclass(frozen=True)
class Load:
    """What to publish: `rate` events a second (0: as fast as it goes), for so many seconds."""

    rate: int
    seconds: float
    fan: bool = False
    """All subscribers share one topic; otherwise each has its own and they take turns."""
    size: int = 0
    """Bytes of text in each event beside what is measured."""
    stalled: int = 0
    """Channels that listen to a busy topic of 2 MB/s and do not read."""


class Subscriber(asyncio.Protocol):
    """Counts events, and how long each was under way."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer  # a writer that nobody holds closes its channel
        channel = writer.transport
        assert isinstance(channel, asyncio.Transport)
        self.channel = channel
        self.delays: list[float] = []
        self.lost = False
        self._rest = b""
        channel.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Light on purpose: a heavy one would be most of what is measured."""
        if self._rest:
            data = self._rest + data
        now, at = time.monotonic(), 0
        while at + 4 <= len(data):
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > len(data):
                break
            begins = data.index(b'"t":', at, end) + 4
            self.delays.append(now - float(data[begins : data.index(b",", begins, end)]))
            at = end
        self._rest = data[at:]

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


class Clients:
    """Sessions with subscribers on them, and one publisher with a session of its own."""

    def __init__(self, options: wraith.ConnectOptions) -> None:
        self._options = options
        self._stack = contextlib.AsyncExitStack()
        self.subscribers: list[Subscriber] = []

    async def open(self, sessions: int, subscribers: int) -> None:
        """Open everything; each subscriber asks for its own topic and for the common one."""
        self._clients = [wraith.connect(self._options) for _ in range(sessions + 1)]
        room = asyncio.Semaphore(AT_ONCE)

        async def enter(client: wraith.Client) -> None:
            async with room:
                await self._stack.enter_async_context(client)

        await asyncio.gather(*map(enter, self._clients))
        for number in range(subscribers):
            writer = await self._channel(number % sessions, f"each:{number}", "all:")
            self.subscribers.append(Subscriber(writer))
        _, self._publisher = await self._clients[-1].open_connection("wraith-control", 0)
        await self._wait(self._frame("all"), lambda: all(s.delays for s in self.subscribers))

    async def _channel(self, client: int, *topics: str) -> asyncio.StreamWriter:
        _, writer = await self._clients[client].open_connection("wraith-control", 0)
        for topic in topics:
            writer.write(encode_frame(subscribe(topic)))
        return writer

    def _frame(self, kind: str, name: str = "", text: str = "") -> bytes:
        body = '{"type":"%s","id":"%s","payload":{"t":%r,"x":"%s"}}'
        whole = (body % (kind, name, time.monotonic(), text)).encode()
        return len(whole).to_bytes(4, "big") + whole

    async def _wait(self, frame: bytes, done: object) -> None:
        assert callable(done)
        async with asyncio.timeout(60):
            while not done():
                self._publisher.write(frame)
                await asyncio.sleep(0.2)

    async def carry(self, load: Load) -> dict[str, object]:
        """Publish, wait for the last event, and tell."""
        stalled = [
            Subscriber(await self._channel(n % (len(self._clients) - 1), "busy:"))
            for n in range(load.stalled)
        ]
        for one in stalled:
            one.channel.pause_reading()
        for subscriber in self.subscribers:
            subscriber.delays.clear()
        began = time.monotonic()
        published = await self._publish(load)
        took = time.monotonic() - began
        expected = published * (len(self.subscribers) if load.fan else 1)
        delivered = await self._delivered(expected)
        whole = time.monotonic() - began
        delays = sorted(d for s in self.subscribers for d in s.delays)
        for one in stalled:
            one.channel.abort()
        return {
            "published": published,
            "seconds": took,
            "until_last": whole,
            "delivered": delivered,
            "expected": expected,
            "p50_ms": statistics.median(delays) * 1000,
            "p99_ms": delays[int(len(delays) * 0.99)] * 1000,
            "max_ms": delays[-1] * 1000,
            "cut": sum(one.lost for one in stalled),
            "lost": sum(one.lost for one in self.subscribers),
        }

    async def _publish(self, load: Load) -> int:
        """The publisher's loop; a stalled channel's topic gets 2 MB/s on top."""
        began = time.monotonic()
        published = busy = 0
        text, filler = "x" * load.size, "x" * 1000
        while (spent := time.monotonic() - began) < load.seconds:
            due = int(spent * load.rate) if load.rate else published + 200
            frames = []
            while published < due:
                topic = ("all", "") if load.fan else ("each", str(published % self._count))
                frames.append(self._frame(*topic, text))
                published += 1
            while load.stalled and busy < spent * 2000:
                frames.append(self._frame("busy", "", filler))
                busy += 1
            self._publisher.write(b"".join(frames))
            await self._publisher.drain()
            await asyncio.sleep(STEP if load.rate else 0)
        return published

    @property
    def _count(self) -> int:
        return len(self.subscribers)

    async def _delivered(self, expected: int) -> int:
        until = time.monotonic() + SETTLE
        count = -1
        while count < expected and time.monotonic() < until:
            await asyncio.sleep(0.01)
            count = sum(len(s.delays) for s in self.subscribers)
        return count

    async def close(self) -> None:
        await self._stack.aclose()


async def main(arguments: list[str]) -> None:
    """Open, say so, and carry one load for each line."""
    port, identity, fingerprint, sessions, count = arguments
    clients = Clients(
        wraith.ConnectOptions(
            server=f"127.0.0.1:{port}",
            identity=[identity],
            host_key=fingerprint,
            connect_timeout=60,
            keepalive=600,
        )
    )
    try:
        await clients.open(int(sessions), int(count))
        print('{"event": "ready"}', flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await clients.carry(Load(**json.loads(line)))), flush=True)
    finally:
        await clients.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(sys.argv[1:]))
