"""Both sides in parallel, and the table of what differs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from interop.stealth.probe import Probe
from interop.stealth.wire import Seen

AT_ONCE = 64
"""Probes under way together; most of the time of each is waiting."""


@dataclass(frozen=True)
class Verdict:
    """How one probe went; `difference` is empty where both sides were the same."""

    probe: str
    difference: str


def compare(probes: Sequence[Probe], oracle: int, ours: int) -> list[Verdict]:
    """Put each probe to both ports at the same time.

    One that differs is put once more, alone: on a busy machine an answer may come a step late.
    """
    names = [probe.name for probe in probes]
    assert len(set(names)) == len(names), "two probes have the same name"
    slow = [probe for probe in probes if probe.slow]
    quick = [probe for probe in probes if not probe.slow]
    with ThreadPoolExecutor(2 * AT_ONCE + 2 * len(slow)) as pool:
        waiting = [_start(pool, probe, oracle, ours) for probe in slow]
        verdicts = []
        for start in range(0, len(quick), AT_ONCE):
            batch = quick[start : start + AT_ONCE]
            begun = [_start(pool, probe, oracle, ours) for probe in batch]
            verdicts += [_finish(item) for item in begun]
        verdicts = [_again(pool, verdict, probes, oracle, ours) for verdict in verdicts]
        return verdicts + [_finish(item) for item in waiting]


_Begun = tuple[Probe, Future[Seen], Future[Seen]]


def _start(pool: ThreadPoolExecutor, probe: Probe, oracle: int, ours: int) -> _Begun:
    return probe, pool.submit(probe.run, oracle), pool.submit(probe.run, ours)


def _finish(begun: _Begun) -> Verdict:
    probe, oracle, ours = begun
    return Verdict(probe.name, oracle.result().differs(ours.result()))


def _again(
    pool: ThreadPoolExecutor, verdict: Verdict, probes: Sequence[Probe], oracle: int, ours: int
) -> Verdict:
    if not verdict.difference:
        return verdict
    probe = next(probe for probe in probes if probe.name == verdict.probe)
    return _finish(_start(pool, probe, oracle, ours))


def report(title: str, verdicts: Sequence[Verdict]) -> float:
    """Print how many agree, and each that does not; return the share that agrees."""
    differing = [verdict for verdict in verdicts if verdict.difference]
    agreeing = len(verdicts) - len(differing)
    print(f"\n{title}: {agreeing} of {len(verdicts)} probes agree with nginx")
    for verdict in differing:
        print(f"  {verdict.probe}: {verdict.difference[:400]}")
    return agreeing / len(verdicts)
