"""The client's side: reach a peer by its id, wherever it is."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from wraith.dialing.direct import resolve
from wraith.dialing.reasons import told
from wraith.errors import TransportError, WraithError
from wraith.transports.base import ProtocolFactory
from wraith.transports.iroh.binding import is_its_error, load, reason_of, text_of
from wraith.transports.iroh.endpoint import Endpoint, EndpointSettings, hang_up, open_endpoint
from wraith.transports.iroh.key import read_key
from wraith.transports.iroh.stream import IrohStream
from wraith.values.address import HostPort
from wraith.values.iroh_peer import IrohPeer, RelayChoice


class IrohTransport:
    """Connects to one peer. Its endpoint is made on first use and serves all its sessions.

    Without a `key` file each transport has a fresh identity of its own.
    """

    name = "iroh"

    def __init__(self, peer: IrohPeer, relay: RelayChoice, key: Path | None = None) -> None:
        self._peer = peer
        self._relay = relay
        self._key = key
        self._endpoint: asyncio.Task[Endpoint] | None = None

    def __repr__(self) -> str:
        return f"<IrohTransport {self._peer}>"

    @property
    def server(self) -> str:
        """The id of the peer, in hex."""
        return self._peer.id

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        """As `Transport.connect`."""
        try:
            async with asyncio.timeout(timeout):
                endpoint = await self._open()
                connection = await endpoint.connect(await self._whereabouts())
                return await _open_stream(connection, factory, endpoint)
        except TimeoutError:
            raise self._unreachable(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise self._unreachable(told(error)) from error
        except WraithError:
            raise
        except Exception as error:
            if not is_its_error(error):
                raise
            reason = reason_of(text_of(error))
        # Not in there: through its context our error would hold the binding's, and that the socket.
        raise self._unreachable(reason)

    async def _open(self) -> Endpoint:
        """The endpoint; whoever gives up waiting for it leaves it to the next, or to `close`."""
        if self._endpoint is None:
            load()
            key = read_key(self._key) if self._key is not None else None
            opening = open_endpoint(EndpointSettings(self._relay, key))
            task = asyncio.get_running_loop().create_task(opening, name="iroh: open an endpoint")
            self._endpoint = task
        try:
            return await asyncio.shield(self._endpoint)
        except Exception:
            self._endpoint = None
            raise

    async def _whereabouts(self) -> IrohPeer:
        """The peer with names resolved; by a relay of ours, if nothing says where it is."""
        found: list[HostPort] = []
        for address in self._peer.addresses:
            resolved = await resolve(address.host, address.port)
            found += [HostPort(str(sockaddr[0]), address.port) for _, sockaddr in resolved]
        relay = None if self._relay.is_disabled else self._peer.relay or self._relay.url
        return dataclasses.replace(self._peer, addresses=tuple(found), relay=relay)

    def _unreachable(self, reason: str) -> TransportError:
        hint = "check the id, that the server runs, and that UDP gets through"
        if self._peer.is_bare and self._relay.public:
            hint = "without an address both sides need a relay, and thus the internet"
        return TransportError(f"cannot reach the iroh peer {self._peer}: {reason}", hint=hint)

    async def close(self) -> None:
        """As `Transport.close`."""
        opening, self._endpoint = self._endpoint, None
        if opening is not None:
            with contextlib.suppress(Exception):  # it never came to be
                await (await opening).close()


async def _open_stream(
    connection: Any, factory: ProtocolFactory, endpoint: Endpoint
) -> asyncio.Transport:
    try:
        halves = await endpoint.made_by(connection.open_bi())
        return IrohStream.opened(connection, halves, factory(), endpoint.streams)
    except BaseException:
        hang_up(connection)
        raise
