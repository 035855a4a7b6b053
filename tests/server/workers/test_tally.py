"""The counts of all workers as one, and never backwards."""

from __future__ import annotations

import dataclasses
import json

from wraith.server.counts import Counts
from wraith.server.workers.tally import Report, Tally

ONE = Report(1, 3, 5, 100, 200, {"accept": 2}, {"open": 5})
TWO = Report(0, 1, 1, 10, 20, {"accept": 1, "unknown-key": 4}, {"open": 1, "EPERM": 2})


def test_sums_over_all() -> None:
    own = Counts()
    own.connections["accepted"] = 7
    tally = Tally(own)
    tally.heard(1, ONE)
    tally.heard(2, TWO)
    assert (tally.stranger_count, tally.session_count, tally.channel_count) == (1, 4, 6)
    assert tally.traffic == (110, 220)
    assert tally.counts.connections == {"accepted": 7}
    assert tally.counts.authentications == {"accept": 3, "unknown-key": 4}
    assert tally.counts.channels == {"open": 6, "EPERM": 2}
    assert repr(tally) == "<Tally workers=2>"


def test_what_a_worker_did_outlives_it_and_what_it_had_open_does_not() -> None:
    tally = Tally(Counts())
    tally.heard(1, ONE)
    tally.ended(1)
    tally.ended(1)
    assert tally.traffic == (100, 200)
    assert tally.counts.authentications == {"accept": 2}
    assert tally.session_count == tally.channel_count == 0
    tally.heard(1, TWO)
    assert tally.traffic == (110, 220)
    assert tally.counts.authentications == {"accept": 3, "unknown-key": 4}


def test_a_report_travels() -> None:
    assert Report.read(json.loads(json.dumps(dataclasses.asdict(TWO)))) == TWO
