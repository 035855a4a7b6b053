"""For measuring only: engines in one process that lives on, for whichever Node comes next.

daemon.py SOCKET
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from wraith.engine.control import run
from wraith.streams.hub import new_event_loop


async def serve(path: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listener.setblocking(False)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    engines = set()
    while True:
        control, _ = await loop.sock_accept(listener)
        control.setblocking(True)
        directory = control.recv(4096).decode()  # the host's directory comes first
        engines.add(loop.create_task(run(control.detach(), Path(directory))))


with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(serve(sys.argv[1]))
