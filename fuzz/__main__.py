"""`python -m fuzz`: throw mutated examples at the parsers. Run it from the root of the repository.

What broke a target is printed so that it can be run again: `python -m fuzz TARGET --example HEX`.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from fuzz.mutate import mutations
from fuzz.targets import TARGETS, Target


def main() -> int:
    """Exit code 0, or 1 when an invariant did not hold."""
    options = _options()
    chosen = [target for target in TARGETS if not options.target or target.name in options.target]
    if options.example is not None:
        for target in chosen:
            target.run(bytes.fromhex(options.example), random.Random(options.seed))
        return 0
    return max([_throw(target, options.seconds, options.seed) for target in chosen], default=2)


def _throw(target: Target, seconds: float, seed: int) -> int:
    chance = random.Random(seed)
    examples = mutations(target.seeds, chance)
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        data = next(examples)
        turn = chance.randrange(1 << 32)
        try:
            target.run(data, random.Random(turn))
        except Exception as error:
            print(f"{target.name}: {error!r}\n  --seed {turn} --example {data.hex()}")
            return 1
        count += 1
    print(f"{target.name}: {count} examples, nothing found")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    names = [target.name for target in TARGETS]
    parser.add_argument("target", nargs="*", help=f"all, when none is named: {', '.join(names)}")
    parser.add_argument("--seconds", type=float, default=10, help="for each target (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the chances (0)")
    parser.add_argument("--example", metavar="HEX", help="run just this")
    options = parser.parse_args()
    for name in options.target:
        if name not in names:
            parser.error(f"no target {name!r}; there are: {', '.join(names)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
