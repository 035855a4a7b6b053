"""`python -m bench.loop asyncio|uvloop WORD …`: the `wraith` command on another event loop.

The library runs on any; the command line chooses the fastest, and this is how that is measured.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import wraith.cli.report
from wraith.cli import main


def factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes a loop of this name."""
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


if __name__ == "__main__":
    vars(wraith.cli.report)["new_event_loop"] = factory(sys.argv.pop(1))
    main()
