"""Which pairs of programs a story runs with.

Every pair that holds Wraith is the default. `@pytest.mark.pairs(client=…, server=…)` keeps those
with this client or this server; `oracle=True` adds openssh-openssh. `INTEROP_PAIRS` replaces the
default by a list such as `openssh-openssh,wraith-openssh`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from interop.peers.roles import Pair

_ORACLE = Pair("openssh", "openssh")
_WITH_WRAITH = [Pair("openssh", "wraith"), Pair("wraith", "openssh"), Pair("wraith", "wraith")]


def pairs_for(marker: pytest.Mark | None) -> Sequence[Pair]:
    """Choose the pairs for a story with this marker."""
    wanted = dict(marker.kwargs) if marker else {}
    chosen = _asked_for() + ([_ORACLE] if wanted.pop("oracle", False) else [])
    return [
        pair
        for pair in dict.fromkeys(chosen)
        if all(getattr(pair, end) == role for end, role in wanted.items())
    ]


def servers() -> Sequence[str]:
    """Choose the servers for a story whose client is always the same program."""
    asked = [pair.server for pair in _asked_for()] if "INTEROP_PAIRS" in os.environ else ["wraith"]
    return list(dict.fromkeys(asked))


def _asked_for() -> list[Pair]:
    asked = os.environ.get("INTEROP_PAIRS", "")
    return [Pair(*name.split("-")) for name in asked.split(",")] if asked else list(_WITH_WRAITH)
