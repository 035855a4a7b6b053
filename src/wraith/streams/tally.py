"""What an interface carries: how many connections, and how many bytes. Never where they lead.

Counting costs nothing while bytes flow: a carrier knows by its own means how much it has carried,
and is asked when somebody looks, and once when it ends.
"""

from __future__ import annotations

from typing import Protocol


class Carrier(Protocol):
    """One connection of an interface."""

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes from whoever connected, and bytes to them, so far."""
        ...


class Tally:
    """The connections of one interface: those that are open, and the sum of all that were."""

    def __init__(self) -> None:
        self._open: dict[Carrier, None] = {}
        self._ended_in = self._ended_out = 0
        self.total = 0
        """Connections that have been carried, the open ones included."""

    def __repr__(self) -> str:
        return f"<Tally open={self.open} total={self.total}>"

    @property
    def open(self) -> int:
        """Connections now."""
        return len(self._open)

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes from those who connected, and bytes to them, in all."""
        open_now = [carrier.carried for carrier in self._open]
        return (
            self._ended_in + sum(came for came, _ in open_now),
            self._ended_out + sum(went for _, went in open_now),
        )

    def began(self, carrier: Carrier) -> None:
        """One more, until `ended`."""
        self._open[carrier] = None
        self.total += 1

    def ended(self, carrier: Carrier) -> None:
        """It has ended; a second time changes nothing."""
        if carrier in self._open:
            del self._open[carrier]
            came, went = carrier.carried
            self._ended_in += came
            self._ended_out += went
