"""`python -m bench.sessions PORT IDENTITY FINGERPRINT ECHO COUNT`: many clients of one server.

Opens so many SSH sessions, each with one channel that has carried a message, says so on its output,
and holds them until its standard input ends. One process is all of the clients, so that only the
server is weighed; it speaks to Wraith and to OpenSSH alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import wraith
from wraith.streams.hub import new_event_loop

AT_ONCE = 16


async def hold(port: str, identity: str, fingerprint: str, echo: int, count: int) -> None:
    """Open `count` sessions and keep them."""
    options = wraith.ConnectOptions(
        server=f"127.0.0.1:{port}",
        identity=[identity],
        host_key=fingerprint,
        connect_timeout=60,
        keepalive=600,
    )
    room = asyncio.Semaphore(AT_ONCE)
    async with contextlib.AsyncExitStack() as stack:

        async def one() -> None:
            async with room:
                client = await stack.enter_async_context(wraith.connect(options))
                reader, writer = await client.open_connection("127.0.0.1", echo)
                writer.write(bytes(64))
                await reader.readexactly(64)

        await asyncio.gather(*(one() for _ in range(count)))
        print(f'{{"sessions": {count}}}', flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(hold(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
