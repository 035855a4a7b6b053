"""The hub: a Wraith server that hands out work over its own event bus.

It asks for the squares of some numbers, from whichever worker is free, and prints them.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque

import wraith
from wraith.pubsub import Action, BusEvent

PATIENCE = 2.0  # seconds for one piece of work; then another worker gets it


def may(peer: wraith.ServicePeer, action: Action, topic: str) -> bool:
    """Workers say hello and what is done; they listen to hellos, and to what is for them alone."""
    kind = topic.partition(":")[0]
    if action is Action.PUBLISH:
        return kind in {"worker.hello", "work.done"}
    return kind in {"worker.hello", "direct"}


class Hub:
    """What is to be done, and who does it."""

    def __init__(self, server: wraith.Server, numbers: int) -> None:
        self._bus = server.bus
        self._waiting = deque(range(numbers))
        self._free: asyncio.Queue[str] = asyncio.Queue()
        self.done: dict[int, int] = {}

    async def run(self, workers: int) -> None:
        """Wait for so many workers, then until all of it is done."""
        for name in ("red", "blue"):
            self._bus.add_listener(f"worker.hello:{name}", self._hello)
        while self._free.qsize() < workers:
            await asyncio.sleep(0.05)
        wanted = len(self._waiting)
        async with asyncio.TaskGroup() as group:
            while len(self.done) < wanted:
                worker = await self._free.get()
                if self._waiting:
                    group.create_task(self._give(self._waiting.popleft(), worker))

    def _hello(self, event: BusEvent) -> None:
        assert event.origin is not None
        print(f"{event.id} has come", flush=True)
        self._free.put_nowait(event.origin.fingerprint)

    async def _give(self, number: int, worker: str) -> None:
        answers = self._bus.subscribe(f"work.done:{number}")
        self._bus.dispatch("direct", worker, {"number": number})
        try:
            async with asyncio.timeout(PATIENCE):
                event = await anext(answers)
        except TimeoutError:
            self._waiting.append(number)  # it was lost, or the worker is: somebody else, then
            return
        self.done[number] = event.payload["square"]
        print(f"{number} squared is {event.payload['square']}", flush=True)
        self._free.put_nowait(worker)


async def main() -> None:
    """Serve until the work is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--key", help="the host key; made on first use")
    parser.add_argument("--authorized-keys", required=True)
    parser.add_argument("--numbers", type=int, default=6, help="how much there is to do")
    parser.add_argument("--workers", type=int, default=1, help="how many to wait for")
    arguments = parser.parse_args()
    options = wraith.ServeOptions(
        listen=[arguments.listen],
        key=arguments.key,
        authorized_keys=arguments.authorized_keys,
        rules=["allow wraith-control", "deny *"],  # the bus, and nothing else
        bus_may=may,
    )
    async with wraith.serve(options) as server:
        print(
            f"listening on {server.listen_addresses[0]} {server.host_key_fingerprint}", flush=True
        )
        await Hub(server, arguments.numbers).run(arguments.workers)
        print("all done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
