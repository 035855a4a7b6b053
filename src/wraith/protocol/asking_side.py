"""The side that asks an upstream proxy for a stream: it reads one answer, then steps aside.

SOCKS5 and HTTP CONNECT each add what is said and how the answers are read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from wraith.protocol.events import ClientEvent, Connected, LocalProtocolError, NeedData
from wraith.protocol.machine import Machine


class AskingSide(Machine, ABC):
    """One request to a proxy: start by sending `data_to_send()`, then feed the answers."""

    def __init__(self) -> None:
        super().__init__()
        self._outcome: ClientEvent | None = None

    def next_event(self) -> ClientEvent:
        """Return what the answers so far mean; the outcome, once there is one, stays.

        Nothing that the proxy sends raises anything here. After `Connected` the stream begins
        with `trailing_data`; after any other outcome the connection is of no more use.
        """
        if self._outcome is not None:
            return self._outcome
        event = self._read_event()
        if not isinstance(event, NeedData):
            self._outcome = event
        return event

    def trailing_data(self) -> bytes:
        """Return, once, what the destination said in the same breath as the proxy.

        Raises `LocalProtocolError` unless the outcome is `Connected`.
        """
        if not isinstance(self._outcome, Connected):
            raise LocalProtocolError("no trailing_data now: not connected")
        return self._rest()

    @property
    def owes_an_answer(self) -> bool:
        """Whether the proxy has something to say by itself, so that silence is its own fault.

        False once it may be waiting for the destination.
        """
        return False

    @abstractmethod
    def _read_event(self) -> ClientEvent:
        """Read as far as the bytes go."""
