"""Each target of the fuzzer, for a few hundred examples; `python -m fuzz` goes on for longer."""

from __future__ import annotations

import itertools
import random

import pytest

from fuzz.mutate import cuts, mutations
from fuzz.targets import TARGETS, Target

EXAMPLES = 300


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.name))
def test_good_examples_hold(target: Target) -> None:
    for seed in target.seeds:
        target.run(seed, random.Random(1))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.name))
def test_mutated_examples_end_in_a_documented_way(target: Target) -> None:
    chance = random.Random(2)
    for data in itertools.islice(mutations(target.seeds, chance), EXAMPLES):
        target.run(data, chance)


def test_a_cut_loses_nothing() -> None:
    chance = random.Random(3)
    for _ in range(200):
        data = chance.randbytes(chance.randrange(40))
        assert b"".join(cuts(data, chance)) == data


def test_a_broken_invariant_would_be_seen() -> None:
    def picky(data: bytes, _chance: random.Random) -> None:
        assert data == b"the seed itself"

    broken = Target("picky", [b"the seed itself"], picky)
    example = next(mutations(broken.seeds, random.Random(4)))
    with pytest.raises(AssertionError):
        broken.run(example, random.Random(4))
