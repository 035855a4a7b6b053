"""Changes bytes as strangers and bad links do: a few edits of a good example, or none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

_Edit = Callable[[random.Random, bytearray, Sequence[bytes]], None]

INTERESTING = (0, 1, 2, 4, 5, 0x0A, 0x0D, 0x20, 0x3A, 0x7F, 0x80, 0xFE, 0xFF)
LONGEST = 1 << 16


def mutations(seeds: Sequence[bytes], chance: random.Random) -> Iterator[bytes]:
    """Endless examples: one of the seeds after one to six edits."""
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            chance.choice(_EDITS)(chance, data, seeds)
            del data[LONGEST:]
        yield bytes(data)


def cuts(data: bytes, chance: random.Random) -> list[bytes]:
    """The same bytes in pieces, sometimes one by one, sometimes whole."""
    if chance.random() < 0.1:
        return [data[i : i + 1] for i in range(len(data))]
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randint(0, 5)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def _place(chance: random.Random, data: bytearray) -> int:
    return chance.randrange(len(data) + 1)


def _flip(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice(INTERESTING)


def _insert(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    at = _place(chance, data)
    data[at:at] = chance.randbytes(chance.randint(1, 8))


def _delete(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    at = _place(chance, data)
    del data[at : at + chance.randint(1, 16)]


def _repeat(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    a, b = sorted((_place(chance, data), _place(chance, data)))
    data[b:b] = data[a:b] * chance.choice((1, 1, 2, 20))


def _shorten(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    del data[_place(chance, data) :]


def _splice(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    data[_place(chance, data) :] = other[chance.randrange(len(other) + 1) :]


_EDITS: tuple[_Edit, ...] = (_flip, _set, _insert, _delete, _repeat, _shorten, _splice)
