"""A client and a server in one event loop, joined in memory, with keys made for the occasion."""

from __future__ import annotations

import dataclasses
from types import TracebackType
from typing import Any, Self

from wraith.client.connect import Client, connect
from wraith.client.options import ConnectOptions
from wraith.server.options import ServeOptions
from wraith.server.serve import Server, serve
from wraith.ssh.keys import generate
from wraith.transports.memory import MemoryAcceptor, MemoryTransport


class Loopback:
    """A whole tunnel without a network; an async context manager.

        async with Loopback() as tunnel:
            reader, writer = await tunnel.client.open_connection("localhost", port)

    Keyword arguments replace options: `Loopback(serve={"rules": ["deny *"]})`.
    """

    def __init__(
        self,
        *,
        serve: dict[str, Any] | None = None,
        connect: dict[str, Any] | None = None,
    ) -> None:
        self._acceptor = MemoryAcceptor()
        user_key = generate("loopback user")
        self.serve_options = dataclasses.replace(
            ServeOptions(
                listen=[self._acceptor],
                key=generate("loopback host").export(),
                authorized_keys=user_key.public.line().encode(),
            ),
            **(serve or {}),
        )
        self.connect_options = dataclasses.replace(
            ConnectOptions(
                transport=MemoryTransport(self._acceptor),
                user="tester",
                identity=[user_key.export()],
            ),
            **(connect or {}),
        )
        self.server: Server
        self.client: Client

    def __repr__(self) -> str:
        return "<wraith.testing.Loopback>"

    async def __aenter__(self) -> Self:
        """Start the server, then the client."""
        self.server = serve(self.serve_options)
        await self.server.start()
        pinned = dataclasses.replace(
            self.connect_options, host_key=self.server.host_key_fingerprint
        )
        self.client = connect(pinned)
        try:
            await self.client.start()
        except BaseException:
            await self.client.close()
            await self.server.close(drain=0)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End both."""
        await self.client.close()
        await self.server.close(drain=0)
