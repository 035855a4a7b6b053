"""The engine: does what the host asks for over the control channel, and ends with it.

    the host asks       connect  accept  serve  close-server     answered, by `id`
                        cancel  end  abort  refuse               not answered
    the engine tells    hello  connection  ended  closed

Streams and servers have numbers, which the host chooses, so that nothing can happen to one before
the host knows it. A connection that comes to a server has a number of the engine's until the host
accepts it.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from wraith.client.connect import Client, connect
from wraith.engine.bridge import Bridge
from wraith.engine.failures import failure
from wraith.engine.frames import FrameError, Message
from wraith.engine.host_socket import TOKEN_SIZE, HostSocket
from wraith.engine.settings import connect_options, serve_options
from wraith.engine.turns import Turns
from wraith.errors import ChannelError, WraithError
from wraith.server.serve import Server, serve
from wraith.server.services import ServicePeer
from wraith.streams.log_line import log_event
from wraith.streams.tasks import TaskSet
from wraith.values.address import parse_destination

_log = logging.getLogger("wraith.engine")

ACCEPT_TIMEOUT = 10.0
"""Seconds in which the host must take, or refuse, a connection that came to its server."""

DRAIN = 2.0
"""Seconds that finished streams get to be sent when the host has gone."""

Head = Mapping[str, Any]
Send = Callable[[Mapping[str, Any]], None]


class Engine:
    """The streams and servers of one host; owns a client for each stream that the host opened.

    `send` takes messages to the host. `broken` is told once the host cannot be understood.
    """

    def __init__(self, host: HostSocket, send: Send, broken: Callable[[FrameError], None]) -> None:
        self._host = host
        self._send = send
        self._broken = broken
        self._tasks = TaskSet("engine")
        self._turns = Turns()
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._bridges: dict[int, Bridge] = {}
        self._clients: dict[int, Client] = {}
        self._servers: dict[int, Server] = {}
        self._arrivals: dict[int, Bridge] = {}
        self._numbers = itertools.count(1)
        self._answered: dict[str, Callable[[Head], Awaitable[Head]]] = {
            "connect": self._connect,
            "accept": self._accept,
            "serve": self._serve,
            "close-server": self._close_server,
        }
        self._told: dict[str, Callable[[Head], None]] = {
            "cancel": self._cancel,
            "end": self._end,
            "abort": self._abort,
            "refuse": self._refuse,
        }

    def __repr__(self) -> str:
        return f"<Engine streams={len(self._bridges)} servers={len(self._servers)}>"

    def handle(self, message: Message) -> None:
        """Do what the host asks. Raises `FrameError` for what no host of ours would ask."""
        head = message.head
        operation = head.get("op")
        if operation in self._told:
            self._told[operation](head)
        elif operation in self._answered:
            number = _number(head, "id")
            work = self._answer(number, self._answered[operation], head)
            self._requests[number] = self._tasks.spawn(work, operation)
        else:
            raise FrameError(f"an unknown operation {operation!r}")

    async def _answer(
        self, number: int, operation: Callable[[Head], Awaitable[Head]], head: Head
    ) -> None:
        try:
            self._send({"id": number, "result": await operation(head)})
        except asyncio.CancelledError as error:
            self._send({"id": number, "error": failure(error)})
            raise
        except FrameError as error:
            self._broken(error)
        except Exception as error:
            if not isinstance(error, WraithError):
                log_event(_log, logging.ERROR, "internal error", kind=type(error).__name__)
            self._send({"id": number, "error": failure(error)})
        finally:
            self._requests.pop(number, None)

    def _cancel(self, head: Head) -> None:
        request = self._requests.get(_number(head, "id"))
        if request is not None:
            request.cancel()

    # Streams that the host opens

    async def _connect(self, head: Head) -> Head:
        token, number = _token(head), _number(head, "stream")
        options = connect_options(head.get("options", {}))
        destination = parse_destination(str(head.get("destination", "")))
        client = connect(options)
        bridge = self._bridges[number] = Bridge(self, number)
        try:
            async with self._turns.turn(client.server, options.connect_timeout):
                await client.start()
            await client.dial(destination, bridge.far)
            self._clients[number] = client
            await self._host.connect(token, bridge.near)
        except BaseException:
            bridge.abort()
            self._bridges.pop(number, None)
            self._clients.pop(number, None)
            await client.close()
            raise
        return {}

    # Streams that come to a server of the host

    def _arrived(self, server: int, service: str, peer: ServicePeer) -> asyncio.Protocol:
        """A channel to one of the host's services: tell the host, which accepts or refuses it."""
        number = next(self._numbers)
        bridge = self._arrivals[number] = Bridge(self)
        asyncio.get_running_loop().call_later(ACCEPT_TIMEOUT, self._too_late, number)
        self._send(
            {
                "event": "connection",
                "server": server,
                "arrival": number,
                "service": service,
                "user": peer.user,
                "keyFingerprint": peer.fingerprint,
                "principals": list(peer.principals),
                "transport": peer.transport,
                "remoteAddress": peer.address,
            }
        )
        return bridge.far

    async def _accept(self, head: Head) -> Head:
        token, number = _token(head), _number(head, "stream")
        bridge = self._arrivals.pop(_number(head, "arrival"), None)
        if bridge is None or bridge.is_closed:
            raise ChannelError("the connection was gone before it was accepted")
        bridge.number = number
        self._bridges[number] = bridge
        try:
            await self._host.connect(token, bridge.near)
        except BaseException:
            bridge.abort()
            self._bridges.pop(number, None)
            raise
        return {}

    def _refuse(self, head: Head) -> None:
        self._too_late(_number(head, "arrival"))

    def _too_late(self, number: int) -> None:
        bridge = self._arrivals.pop(number, None)
        if bridge is not None:
            bridge.abort()

    # The life of a stream

    def _end(self, head: Head) -> None:
        bridge = self._bridges.get(_number(head, "stream"))
        if bridge is not None:
            bridge.announce_end(_number(head, "bytes"))

    def _abort(self, head: Head) -> None:
        bridge = self._bridges.get(_number(head, "stream"))
        if bridge is not None:
            bridge.abort()

    def ended(self, bridge: Bridge, total: int) -> None:
        """As `BridgeOwner.ended`."""
        self._send({"event": "ended", "stream": bridge.number, "bytes": total})

    def closed(self, bridge: Bridge, error: WraithError | None) -> None:
        """As `BridgeOwner.closed`; the session of a stream ends with it."""
        if self._bridges.pop(bridge.number, None) is None:
            return  # it was never accepted
        told = failure(error) if error is not None else None
        self._send({"event": "closed", "stream": bridge.number, "error": told})
        client = self._clients.pop(bridge.number, None)
        if client is not None:
            self._tasks.spawn(client.close(), "end the session of a stream")

    # Servers

    async def _serve(self, head: Head) -> Head:
        number, names = _number(head, "server"), head.get("services")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise FrameError("services that are no list of names")
        services = {name: functools.partial(self._arrived, number, name) for name in names}
        server = serve(serve_options(head.get("options", {}), services))
        try:
            await server.start()
        except BaseException:
            await server.close(drain=0)
            raise
        self._servers[number] = server
        return {
            "listenAddresses": list(server.listen_addresses),
            "hostKeyFingerprint": server.host_key_fingerprint,
            "tlsPin": server.notes.get("tls pin"),
        }

    async def _close_server(self, head: Head) -> Head:
        server = self._servers.pop(_number(head, "server"), None)
        if server is not None:
            await server.close(drain=float(head.get("drain", DRAIN)))
        return {}

    # Goodbye

    async def close(self) -> None:
        """The host has gone: what it did not finish is cut short, what it did is still sent."""
        for number in list(self._arrivals):
            self._too_late(number)
        for request in list(self._requests.values()):
            request.cancel()
        for bridge in list(self._bridges.values()):
            if not bridge.is_finished:
                bridge.abort()
        deadline = asyncio.get_running_loop().time() + DRAIN
        while self._bridges and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        clients = [client.close() for client in self._clients.values()]
        servers = [server.close(drain=0) for server in self._servers.values()]
        await asyncio.gather(*clients, *servers, return_exceptions=True)
        await self._tasks.close()


def _number(head: Head, name: str) -> int:
    value = head.get(name)
    if type(value) is not int:
        raise FrameError(f"{name} is no number")
    return value


def _token(head: Head) -> bytes:
    value = head.get("token")
    if not isinstance(value, bytes) or len(value) != TOKEN_SIZE:
        raise FrameError("token is no token")
    return value
