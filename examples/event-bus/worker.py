"""A worker: it goes out to the hub, and does what it is told there.

It may sit behind NAT: all that it needs is a way out to the hub's port.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

import wraith
from wraith.pubsub import EventEnvelope, EventTarget


async def work(target: EventTarget, name: str, fingerprint: str) -> None:
    """Say hello, then answer each piece of work."""
    target.add_listener("worker.hello:red", hear)
    target.add_listener("worker.hello:blue", hear)
    async with target.subscribe(f"direct:{fingerprint}") as tasks:
        target.dispatch("worker.hello", name)
        async for task in tasks:
            number = task.payload["number"]
            print(f"asked for {number}", flush=True)
            target.dispatch("work.done", str(number), {"square": number * number, "by": name})


def hear(event: EventEnvelope) -> None:
    """Another worker has come."""
    print(f"heard of {event.id}", flush=True)


async def main() -> None:
    """Connect, and work until the hub goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--host-key", required=True)
    parser.add_argument("--identity", required=True)
    parser.add_argument("--name", choices=["red", "blue"], required=True)
    arguments = parser.parse_args()
    options = wraith.ConnectOptions(
        server=arguments.server,
        host_key=arguments.host_key,
        identity=[arguments.identity],
        user=arguments.name,
    )
    stream = await wraith.open_stream(options, "wraith-control:0")
    async with stream, EventTarget(stream) as target:
        with contextlib.suppress(wraith.EventStreamError):
            await work(target, arguments.name, await own_fingerprint(arguments.identity))
    print("the hub has gone", flush=True)


async def own_fingerprint(identity: str) -> str:
    """The fingerprint of our key, as `ssh-keygen -l` prints it."""
    command = ("ssh-keygen", "-l", "-f", identity)
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    return output.split()[1].decode()


if __name__ == "__main__":
    asyncio.run(main())
