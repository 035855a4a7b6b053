"""Drive a machine of `wraith.protocol` as a story, or with its bytes cut in every way.

    Story(Socks5Server()).hears("05 01 00").says("05 00").reports(NEED_DATA)

reads like a transcript. `every_cut` plays one conversation whole, byte by byte, split in two at
every place, and with more data behind it; it fails unless all of them end the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from wraith.protocol.events import NEED_DATA, ConnectRequest, Failed, UdpAssociateRequest

E_co = TypeVar("E_co", covariant=True)


class Machine(Protocol[E_co]):
    """What all machines have in common."""

    def receive_data(self, data: bytes) -> None: ...
    def next_event(self) -> E_co: ...
    def data_to_send(self) -> bytes: ...
    def trailing_data(self) -> bytes: ...


M = TypeVar("M", bound=Machine[object])
E = TypeVar("E")


def octets(data: str | bytes) -> bytes:
    """Bytes as such, or written in hexadecimal with spaces wherever they help."""
    return bytes.fromhex(data) if isinstance(data, str) else data


class Story(Generic[M]):
    """A transcript that checks itself; `machine` is there for what it does not cover."""

    def __init__(self, machine: M) -> None:
        self.machine = machine

    def hears(self, data: str | bytes) -> Self:
        self.machine.receive_data(octets(data))
        return self

    def reports(self, event: object) -> Self:
        assert self.machine.next_event() == event
        return self

    def says(self, data: str | bytes) -> Self:
        assert self.machine.data_to_send() == octets(data)
        return self

    def says_nothing(self) -> Self:
        return self.says(b"")

    def fails(self, reason: str = "") -> Self:
        event = self.machine.next_event()
        assert isinstance(event, Failed)
        assert reason in event.reason
        assert self.machine.next_event() == event, "a failure stays"
        return self

    def does(self, action: Callable[[M], object]) -> Self:
        action(self.machine)
        return self

    def passes_on(self, data: bytes) -> Self:
        assert self.machine.trailing_data() == data
        assert self.machine.trailing_data() == b"", "bytes are told once"
        return self


@dataclass(frozen=True)
class Outcome(Generic[E]):
    """What one conversation came to."""

    event: E
    sent: bytes
    trailing: bytes = b""


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """The ways in which a stream may deliver `data`."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def converse(machine: Machine[E], pieces: list[bytes]) -> Outcome[E]:
    """Feed the pieces as a driver would: ask after each, and no more once there is an event."""
    event, sent = machine.next_event(), machine.data_to_send()
    for piece in pieces:
        machine.receive_data(piece)
        if event is NEED_DATA:
            event = machine.next_event()
        sent += machine.data_to_send()
    requested = isinstance(event, ConnectRequest | UdpAssociateRequest)
    return Outcome(event, sent, machine.trailing_data() if requested else b"")


def every_cut(
    make: Callable[[], Machine[E]], data: str | bytes, trailing: bytes = b"\x05 more \r\n\r\n"
) -> Outcome[E]:
    """Return the outcome of `data`, which must not depend on how it is cut.

    If it is a request, then what comes behind it must be passed on, wherever that is cut.
    """
    data = octets(data)
    expected = converse(make(), [data])
    for pieces in cuts(data):
        assert converse(make(), pieces) == expected, pieces
    if isinstance(expected.event, ConnectRequest | UdpAssociateRequest):
        longer = Outcome(expected.event, expected.sent, expected.trailing + trailing)
        for pieces in cuts(data + trailing):
            assert converse(make(), pieces) == longer, pieces
    return expected
