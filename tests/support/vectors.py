"""The wire examples in `vectors/`, which the tests of the Node package read as well."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from wraith.protocol.envelope import DEFAULT_MAX_FRAME, EventEnvelope

FOLDER = Path(__file__).parent.parent.parent / "vectors"

Case = dict[str, Any]

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def cases(name: str) -> list[Case]:
    """The cases of one file."""
    loaded: list[Case] = json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))
    return loaded


def name_of(case: Case) -> str:
    name: str = case["name"]
    return name


def event_of(case: Case) -> EventEnvelope:
    event = case["event"]
    return EventEnvelope(event["type"], event["id"], _revived(event["payload"]))


def limit_of(case: Case) -> int:
    limit: int = case.get("max_frame", DEFAULT_MAX_FRAME)
    return limit


def _revived(value: Any) -> Any:
    """Numbers that JSON has no word for, in their places."""
    if isinstance(value, dict):
        if value.keys() == {"$number"}:
            return _NUMBERS[value["$number"]]
        return {key: _revived(item) for key, item in value.items()}
    return [_revived(item) for item in value] if isinstance(value, list) else value
