"""The order of things: probe every peer, then each measure in interleaved rounds A B A B …"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bench.measures import Bench, Measure, check
from bench.native import CouldNot, WrongBytes
from bench.peers import Peer
from bench.peers.base import Link, short_link
from bench.results import Results

DELAY_MS = 50  # each way of the long link
PATIENCE = 2  # failures of a peer in one measure before it is left out


def probe(bench: Bench, wanted: Sequence[type[Peer]], results: Results) -> list[type[Peer]]:
    """Start each peer once and compare what it carries; the ones that can be measured."""
    usable = []
    for kind in wanted:
        reason = kind.missing()
        if reason is None:
            say(f"checking {kind.name}")
            peer = kind()
            try:
                with peer.running():
                    check(bench, peer)
            except CouldNot as problem:
                reason = f"does not work here: {problem}"
            except WrongBytes as problem:
                results.wrong_bytes.append(f"{kind.name}: {problem}")
                continue
            results.peers[kind.name] = {"note": kind.note, "commands": peer.commands}
        if reason is None:
            usable.append(kind)
        else:
            results.peers.pop(kind.name, None)
            results.missing[kind.name] = reason
    return usable


def run(bench: Bench, measure: Measure, kinds: Sequence[type[Peer]], results: Results) -> None:
    """All repetitions of one measure. A peer that fails twice is left out from there on."""
    fitting = [kind for kind in kinds if _fits(measure, kind)]
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(_link(bench, measure))
        runs = _prepare(stack, bench, measure, fitting, link, results)
        failed: Counter[str] = Counter()
        for number in range(results.repetitions):
            for name in runs:
                if failed[name] == PATIENCE:
                    continue
                say(f"{measure.key}  {number + 1}/{results.repetitions}  {name}")
                figures = _guarded(name, measure, results, runs[name])
                if figures is None:
                    failed[name] += 1
                else:
                    results.add(name, number, figures)
        say(f"{measure.key}  done in {time.monotonic() - began:.0f} s", last=True)


def say(text: str, *, last: bool = False) -> None:
    """Progress, on one line of a terminal; elsewhere only what is done."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="\n" if last else "", file=sys.stderr, flush=True)
    elif last:
        print(text, file=sys.stderr, flush=True)


Run = Callable[[], dict[str, float]]


def _prepare(
    stack: contextlib.ExitStack,
    bench: Bench,
    measure: Measure,
    kinds: Sequence[type[Peer]],
    link: Link,
    results: Results,
) -> dict[str, Run]:
    """One callable a peer: on an instance that stays for all rounds, or on a fresh one."""
    runs: dict[str, Run] = {}
    for kind in kinds:
        if measure.fresh or measure.starts_peer:
            runs[kind.name] = _on_fresh(bench, measure, kind)
            continue
        peer = kind()
        if _guarded(kind.name, measure, results, partial(_warm_up, stack, bench, peer, link)):
            runs[kind.name] = partial(measure.run, bench, peer)
    return runs


def _warm_up(stack: contextlib.ExitStack, bench: Bench, peer: Peer, link: Link) -> dict[str, float]:
    stack.enter_context(peer.running(link))
    check(bench, peer)
    return {"warm": 1}


def _on_fresh(bench: Bench, measure: Measure, kind: type[Peer]) -> Run:
    def once() -> dict[str, float]:
        peer = kind()
        try:
            if not measure.starts_peer:
                peer.start()
            return measure.run(bench, peer)
        finally:
            peer.stop()

    return once


def _guarded(name: str, measure: Measure, results: Results, run: Run) -> dict[str, float] | None:
    """Run; on trouble write it down and return None."""
    try:
        return run()
    except CouldNot as problem:
        results.failures.append(f"{measure.key}: {name}: {problem}")
    except WrongBytes as problem:
        results.wrong_bytes.append(f"{measure.key}: {name}: {problem}")
    return None


def _fits(measure: Measure, kind: type[Peer]) -> bool:
    if measure.datagrams and not kind.has_datagrams:
        return False
    if measure.tunnels_only and not kind.has_client:
        return False
    return kind.crosses_link or not measure.over_long_link


@contextlib.contextmanager
def _link(bench: Bench, measure: Measure) -> Iterator[Link]:
    """The link of a measure: loopback, or a delaying relay in front of every port asked for."""
    if not measure.over_long_link:
        yield short_link
        return
    with contextlib.ExitStack() as relays:

        def through_relay(port: int) -> int:
            serving = bench.loadgen.serving("relay", to=port, delay_ms=DELAY_MS)
            return relays.enter_context(serving)["port"]

        yield through_relay
