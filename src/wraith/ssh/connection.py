"""What our client and server connections have in common; the one list of internals that we touch.

The library's connections are subclassed thinly: they are silent (its log lines name destinations),
they notice a peer that has gone quiet, and they tell their channels when the stream below is full.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import asyncssh
from asyncssh.logging import SSHLogger

from wraith.errors import ChannelRefused, Refusal
from wraith.policy.liveness import Liveness, Verdict
from wraith.policy.window_budget import WindowBudget
from wraith.protocol.ssh_reason import encode_refusal
from wraith.ssh.channel import MAX_PACKET, ChannelSession, ChannelStream

AcceptChannel = Callable[[], Awaitable[asyncio.Protocol]]
"""Called when the peer opens a channel; returns its protocol, or raises `ChannelRefused`."""

OPEN_TIMEOUT = 150.0
"""Seconds that a channel may take to open: a little more than a kernel's own patience (127 s)."""

WINDOW_BUDGET = 64 * 1024 * 1024

INTERNALS = (
    "_channels",
    "_logger",
    "_make_global_request",
    "_report_global_response",
    "_session_id",
    "_transport",
    "_username",
)
"""Names of the library that are not part of its promises; a test finds them where we expect them.

`_channels` is the table of channels by their numbers.
`_logger` is the logger of a connection and, through it, of its channels.
`_make_global_request` sends a request that the peer must answer (RFC 4254 section 4).
`_report_global_response` answers one; the library finds our own by the names of their methods.
`_session_id` is what signatures are bound to (RFC 4252 section 7).
`_username` is the name that the peer wants to log in as.
`_transport` is the stream below, and None once the connection is closing.
"""

_nowhere = logging.Logger("wraith.ssh.library", logging.CRITICAL + 1)
_nowhere.addHandler(logging.NullHandler())
_nowhere.propagate = False


class _Silence(SSHLogger):
    """Stands where the library logs, and says nothing: its lines name destinations."""

    def __init__(self) -> None:
        super().__init__(_nowhere)

    def get_child(self, child: str = "", context: str = "") -> SSHLogger:
        return self

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        pass


SILENCE = _Silence()

if TYPE_CHECKING:
    from asyncssh.connection import SSHConnection as _LibraryConnection
else:
    _LibraryConnection = object


class ConnectionMixin(_LibraryConnection):
    """Goes before the library's connection class in the bases of ours."""

    _logger: SSHLogger

    def prepare(self, keepalive: float, budget: int, max_channels: int) -> None:
        """Finish the construction: `keepalive` in seconds (0 for none), `budget` in bytes.

        The budget bounds what the peer can make us hold for channels that are not read.
        """
        self._logger = SILENCE
        self.streams: set[ChannelStream] = set()
        self.windows = WindowBudget(budget)
        self._windows: dict[int, int] = {}
        self._newest = -1
        self._max_channels = max_channels
        self._link_full = False
        self._keepalive = keepalive
        self._liveness: Liveness | None = None
        self._check: asyncio.TimerHandle | None = None
        self._on_silence: Callable[[], None] = self.abort

    @property
    def is_usable(self) -> bool:
        """Whether channels can still be opened."""
        return self._transport is not None and not self.is_closed()

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent, as far as they are counted: on the library's own path, none."""
        return 0, 0

    # Channels and their windows

    @property
    def channel_count(self) -> int:
        """Channels open, opening or about to be gone, whatever their bytes lead to."""
        return len(self._channels)

    def check_room(self) -> None:
        """Refuse a channel that would be one too many."""
        if len(self._channels) >= self._max_channels:
            raise asyncssh.ChannelOpenError(*encode_refusal(Refusal.RESOURCE_SHORTAGE))

    def add_channel(self, chan: Any) -> int:
        """Number a new channel, ours or the peer's, if there is room for it."""
        self.check_room()
        self._newest = super().add_channel(chan)
        return self._newest

    def remove_channel(self, recv_chan: int) -> None:
        """Forget a channel that is gone, and take its window back."""
        super().remove_channel(recv_chan)
        self.windows.release(self._windows.pop(recv_chan, 0))

    def create_tcp_channel(self, *args: Any, **kwargs: Any) -> Any:
        """A TCP channel with a window out of the budget, whatever the library would give."""
        return self._create(super().create_tcp_channel)

    def create_unix_channel(self, *args: Any, **kwargs: Any) -> Any:
        """A Unix-socket channel with a window out of the budget."""
        return self._create(super().create_unix_channel)

    def _create(self, create: Callable[..., Any]) -> Any:
        window = self.windows.grant()
        try:
            channel = create(window=window, max_pktsize=MAX_PACKET)
        except asyncssh.ChannelOpenError:
            self.windows.release(window)
            raise
        self._windows[self._newest] = window
        return channel

    def new_stream(self) -> ChannelStream:
        """A stream for a channel that is about to open."""
        stream = ChannelStream(self.streams.discard)
        stream.set_link_full(self._link_full)
        self.streams.add(stream)
        return stream

    async def accept_channel(self, accept: AcceptChannel) -> ChannelSession:
        """The session for a channel that the peer opens, once `accept` has found its protocol."""
        try:
            protocol = await accept()
        except ChannelRefused as error:
            raise asyncssh.ChannelOpenError(*encode_refusal(error.reason)) from None
        if not self.is_usable:
            # The library would drop the session without a word, and what it leads to would leak.
            protocol.connection_lost(ConnectionResetError("the session ended"))
            raise asyncssh.ChannelOpenError(*encode_refusal(Refusal.FAILED))
        return ChannelSession(self.new_stream(), protocol)

    # The stream below is full

    def pause_writing(self) -> None:
        """The stream below has more to send than it should hold: stop what feeds it."""
        self._set_link_full(True)

    def resume_writing(self) -> None:
        """The stream below has room again."""
        self._set_link_full(False)

    def _set_link_full(self, full: bool) -> None:
        self._link_full = full
        for stream in list(self.streams):
            stream.set_link_full(full)

    # Keepalive

    def watch(self, on_silence: Callable[[], None]) -> None:
        """Begin to listen for silence; `on_silence` is called when the peer is taken for dead."""
        self._on_silence = on_silence
        if self._keepalive > 0 and self._check is None:
            self._liveness = Liveness(self._keepalive, self._loop.time())
            self._schedule_check()

    def _schedule_check(self) -> None:
        assert self._liveness is not None
        self._check = self._loop.call_at(self._liveness.next_check, self._check_silence)

    def _check_silence(self) -> None:
        assert self._liveness is not None
        self._check = None
        if self.is_closed() or self._transport is None:
            return
        verdict = self._liveness.check(self._loop.time())
        if verdict is Verdict.DEAD:
            self._on_silence()
            return
        if verdict is Verdict.ASK:
            self.create_task(self.probe())
        self._schedule_check()

    async def probe(self) -> None:
        """Ask the peer for an answer, any answer (OpenSSH's PROTOCOL, keepalive@openssh.com)."""
        await self._make_global_request(b"keepalive@openssh.com")

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Bytes from the stream: a sign of life."""
        if self._liveness is not None:
            self._liveness.heard(self._loop.time())
        super().data_received(data, datatype)

    def stop_watching(self) -> None:
        """Stop the keepalive; called when the connection is gone."""
        self._liveness = None
        if self._check is not None:
            self._check.cancel()
            self._check = None
