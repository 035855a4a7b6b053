"""What it means to dial.

A `Dialer` turns a destination into a stream. Direct connections, upstream proxies and the SSH
session itself all dial, so a listener need not know which of them carries its connections.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from wraith.values.address import Destination


class Dialer(Protocol):
    """Something that can reach destinations."""

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Open a stream to `destination` and set `protocol` on it.

        `protocol.connection_made` has been called when this returns. Raises `ChannelRefused` with
        the reason, or `SessionLost` where a session is needed and none is there. Cancelled, it
        leaves nothing open.
        """
        ...
