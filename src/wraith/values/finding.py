"""What an examination found out at one stage, and the next step where something is amiss."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wraith.errors import WraithError


class Verdict(StrEnum):
    """How a stage went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One stage of an examination; the texts name no destination."""

    stage: str
    verdict: Verdict
    text: str
    hint: str = ""


def ok(stage: str, text: str) -> Finding:
    """All is well."""
    return Finding(stage, Verdict.OK, text)


def warn(stage: str, text: str, hint: str = "") -> Finding:
    """It works, and somebody should know this."""
    return Finding(stage, Verdict.WARN, text, hint)


def fail(stage: str, error: WraithError) -> Finding:
    """It does not work."""
    return Finding(stage, Verdict.FAIL, error.message, error.hint or "")
