"""The arithmetic of the benchmark: medians, and ratios taken round by round."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report
from bench.figures import FIGURES
from bench.peers import Direct, Wraith, find
from bench.results import Results, Spread

DOWN = FIGURES[0]
AES = "OpenSSH aes128-gcm"


@pytest.fixture
def results() -> Results:
    machine = {"cpu": "Z80", "cores": "1", "kernel": "CP/M", "python": "3", "openssh": "9"}
    machine["load at the start"] = "0"
    peers = {name: {"note": "", "commands": []} for name in (AES, "wraith")}
    found = Results("python -m bench", "today", machine, 3, {}, peers=peers)
    for number, (theirs, ours) in enumerate([(100, 150), (200, 400), (50, 60)]):
        found.add(AES, number, {"down": theirs})
        found.add("wraith", number, {"down": ours})
    return found


def test_a_ratio_is_taken_within_each_round_and_then_the_median(results: Results) -> None:
    assert results.ratio(DOWN, "wraith", AES) == Spread(1.5, 1.2, 2.0)


def test_a_round_that_failed_leaves_the_others_in_step(results: Results) -> None:
    results.add("late", 1, {"down": 200})
    assert results.samples["down"]["late"] == [None, 200]
    assert results.ratio(DOWN, "late", AES) == Spread(1, 1, 1)


def test_json_brings_everything_back(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results


def test_the_report_names_targets_and_what_is_missing(results: Results) -> None:
    results.missing["chisel"] = "not installed"
    text = report.render(results)
    assert "✓ bulk down, one stream" in text
    assert "≥ 1.30 x OpenSSH aes128-gcm" in text
    assert "not measured: chisel: not installed" in text


@pytest.mark.parametrize(
    ("word", "kind"), [("direct", Direct), ("wraith", Wraith), ("Direct-TCP", Direct)]
)
def test_a_peer_is_found_by_name_or_by_an_unambiguous_beginning(word: str, kind: type) -> None:
    assert find(word) is kind


def test_an_ambiguous_peer_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match="OpenSSH default"):
        find("openssh")
