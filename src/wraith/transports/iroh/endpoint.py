"""One endpoint: a socket and an identity, shared by all sessions of a client or of a server.

It must be closed before the program ends: a binding that still works when the interpreter goes can
abort it, and peers would wait half a minute to learn of it. `close` may be awaited on any way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from wraith.transports.iroh.binding import load
from wraith.transports.iroh.stream import REFUSED, Streams
from wraith.values.address import HostPort
from wraith.values.iroh_peer import IrohPeer, RelayChoice

ALPN = b"wraith-ssh"
"""What both ends call the protocol on the stream: SSH, the connecting side speaking first."""

CLOSE_TIMEOUT = 3.0
"""Seconds for the peers to take our goodbye; one that has vanished never does."""

LOOPBACK_ANY = {4: "127.0.0.1:0", 6: "[::1]:0"}


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What an endpoint is made with: no address to bind is every interface, on a free port.

    `key` is the secret key, 32 bytes; None makes a fresh one.
    """

    relay: RelayChoice
    key: bytes | None = field(default=None, repr=False)
    bind: Sequence[str] = ()
    accepts: bool = False


def _forget(_made: Any) -> None:
    pass


def hang_up(connection: Any) -> None:
    """Close a connection that nobody wants."""
    connection.close(REFUSED, b"")


def _discarded(discard: Callable[[Any], None], task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is None:
        discard(task.result())


class Endpoint:
    """An open endpoint; made by `open_endpoint`."""

    def __init__(self, bound: Any) -> None:
        self._bound: Any = bound
        self.id = str(bound.id())
        """The public key by which others know this endpoint, in hex."""
        self.streams = Streams()
        self._calls: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Endpoint {self.id[:10]} {'closed' if self._closing else 'open'}>"

    def peer(self) -> IrohPeer:
        """Where others reach this endpoint, as far as it knows by now."""
        known = self._bound.addr()
        addresses = tuple(_host_port(text) for text in known.direct_addresses())
        relay = known.relay_url()
        return IrohPeer(self.id, addresses, str(relay) if relay else None)

    @property
    def bound_addresses(self) -> tuple[HostPort, ...]:
        """The UDP addresses that are bound."""
        return tuple(_host_port(text) for text in self._bound.bound_sockets())

    async def wait_for_relay(self, seconds: float) -> bool:
        """Wait until a relay has taken this endpoint in; whether one has."""
        try:
            async with asyncio.timeout(seconds):
                await self._bound.online()
        except TimeoutError:
            return False
        return True

    async def connect(self, peer: IrohPeer) -> Any:
        """A connection to a peer whose addresses are IP addresses. Raises the binding's errors."""
        binding = load()
        where = binding.EndpointAddr(
            binding.EndpointId.from_bytes(bytes.fromhex(peer.id)),
            peer.relay,
            [str(address) for address in peer.addresses],
        )
        return await self.made_by(self._bound.connect(where, ALPN), hang_up)

    async def next_incoming(self) -> Any | None:
        """The next connection that somebody begins; None once the endpoint is closed."""
        return await self.made_by(self._bound.accept_next())

    async def made_by(
        self, call: Coroutine[Any, Any, Any], discard: Callable[[Any], None] = _forget
    ) -> Any:
        """What a call of the binding's makes. Raises the binding's errors.

        Whoever is cancelled here does not cancel the call, and what it still makes is discarded:
        the binding loses what a cancelled call has just made, and the socket would stay open for
        ever (decision 019).
        """
        task = asyncio.get_running_loop().create_task(call, name="iroh: a call")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(functools.partial(_discarded, discard))
            raise
        finally:
            del task  # else its error, this frame and the binding's would hold each other

    async def close(self) -> None:
        """End the streams that have not ended, then free the socket. May be called more than once.

        Cancelled, it still comes to its end in the background.
        """
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(
                self._close(), name="iroh: close the endpoint"
            )
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self.streams.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._bound.close()
        self._bound = None  # the last to hold the socket
        if self._calls:
            await asyncio.wait(self._calls, timeout=CLOSE_TIMEOUT)
        for call in self._calls:
            call.cancel()


async def open_endpoint(settings: EndpointSettings) -> Endpoint:
    """Bind an endpoint. Raises `UsageError` without the binding, else the binding's errors."""
    binding = load()
    try:
        bound = await _bind(_builder(binding, settings, settings.bind))
    except binding.IrohError:
        # The loopback address of the other family may not exist on this machine.
        wanted = [address for address in settings.bind if address not in LOOPBACK_ANY.values()]
        if not wanted or len(wanted) == len(settings.bind):
            raise
        bound = await _bind(_builder(binding, settings, wanted))
    return Endpoint(bound)


async def _bind(builder: Any) -> Any:
    """A bound endpoint; cancelled, it is closed before that is told. It takes some milliseconds."""
    task = asyncio.get_running_loop().create_task(builder.bind(), name="iroh: bind")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await (await task).close()
        raise
    finally:
        del task  # as in `made_by`


def _builder(binding: Any, settings: EndpointSettings, bind: Sequence[str]) -> Any:
    builder = binding.EndpointBuilder()
    if settings.relay.public:
        builder.apply_n0()
    else:
        # With a relay of one's own, nobody else is to learn of this endpoint: no public discovery.
        builder.apply_minimal()
        builder.relay_mode(_relay_mode(binding, settings.relay))
    if settings.key is not None:
        builder.secret_key(settings.key)
    for address in bind:
        builder.bind_addr(address)
    builder.alpns([ALPN] if settings.accepts else [])
    return builder


def _relay_mode(binding: Any, relay: RelayChoice) -> Any:
    if relay.url is None:
        return binding.RelayMode.disabled()
    return binding.RelayMode.custom_from_urls([relay.url])


def _host_port(text: str) -> HostPort:
    host, _, port = text.rpartition(":")
    return HostPort(host.strip("[]").partition("%")[0], int(port))
