from __future__ import annotations

from wraith.errors import ListenError
from wraith.values.finding import Finding, Verdict, fail, ok, warn


def test_how_a_stage_went() -> None:
    assert ok("a", "well") == Finding("a", Verdict.OK, "well")
    assert warn("a", "so", "do this") == Finding("a", Verdict.WARN, "so", "do this")
    assert fail("a", ListenError("no")) == Finding("a", Verdict.FAIL, "no", "")
    assert fail("a", ListenError("no", hint="do")) == Finding("a", Verdict.FAIL, "no", "do")
