"""Bytes received straight to where they are wanted."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


class DirectReceiver:
    """A base of protocols that say where received bytes go, for streams that ask.

    It is asyncio's `BufferedProtocol`, and stricter: nothing happens between the two calls, so the
    buffer may be one that others use in the next moment. A stream that does not ask calls
    `data_received` as usual.
    """

    def get_buffer(self) -> memoryview:
        """Where the next bytes go; never empty."""
        raise NotImplementedError

    def buffer_updated(self, count: int) -> None:
        """So many have been put there."""
        raise NotImplementedError


@runtime_checkable
class TakesAtOnce(Protocol):
    """A stream that has taken, or copied, what it was given when `write` returns.

    asyncio's own may keep a reference; with these a buffer can be lent.
    """

    takes_at_once: bool
