"""Both sides in parallel, and the table of what differs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from interop.stealth.probe import Probe
from interop.stealth.wire import Seen

AT_ONCE = 40
"""Probes under way together; most of the time of each is waiting."""


@dataclass(frozen=True)
class Verdict:
    """How one probe went; `difference` is empty where both sides were the same."""

    probe: str
    difference: str


class Battery:
    """The probes under way; the slow ones from the beginning, the others a few at a time."""

    def __init__(self, probes: Sequence[Probe], oracle: int, ours: int) -> None:
        names = [probe.name for probe in probes]
        assert len(set(names)) == len(names), "two probes have the same name"
        self._ports = oracle, ours
        self._quick = [probe for probe in probes if not probe.slow]
        slow = [probe for probe in probes if probe.slow]
        self._sides = ThreadPoolExecutor(2 * (AT_ONCE + len(slow)))
        self._waiting = [self._start(probe) for probe in slow]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is still under way."""
        self._sides.shutdown()

    def verdicts(self, *, again: bool = True) -> list[Verdict]:
        """Put each quick probe to both sides, and wait for the slow ones.

        One that differs is put twice more, in quieter company: on a busy machine an answer may come
        a step late. It counts as it goes then. Not so without `again`.
        """
        verdicts = self._run(self._quick, AT_ONCE)
        for at_once in (AT_ONCE // 4, 1) if again else ():
            differing = [probe for probe in self._quick if verdicts[probe.name].difference]
            verdicts |= self._run(differing, at_once)
        return [*verdicts.values(), *map(_verdict, self._waiting)]

    def _run(self, probes: Sequence[Probe], at_once: int) -> dict[str, Verdict]:
        with ThreadPoolExecutor(at_once) as pool:
            return {
                verdict.probe: verdict
                for verdict in pool.map(lambda probe: _verdict(self._start(probe)), probes)
            }

    def _start(self, probe: Probe) -> _Begun:
        oracle, ours = self._ports
        return probe, self._sides.submit(probe.run, oracle), self._sides.submit(probe.run, ours)


_Begun = tuple[Probe, Future[Seen], Future[Seen]]


def _verdict(begun: _Begun) -> Verdict:
    probe, oracle, ours = begun
    return Verdict(probe.name, oracle.result().differs(ours.result()))


def report(title: str, verdicts: Sequence[Verdict]) -> float:
    """Print how many agree, and each that does not; return the share that agrees."""
    differing = [verdict for verdict in verdicts if verdict.difference]
    agreeing = len(verdicts) - len(differing)
    print(f"\n{title}: {agreeing} of {len(verdicts)} probes agree with nginx")
    for verdict in differing:
        print(f"  {verdict.probe}: {verdict.difference[:400]}")
    return agreeing / len(verdicts)
