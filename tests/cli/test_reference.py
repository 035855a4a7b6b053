"""The page about the command line says what the commands themselves say."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_as_the_commands_are() -> None:
    script = runpy.run_path(str(ROOT / "scripts/cli-reference"))
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert page == script["page"](), "run: .venv/bin/python scripts/cli-reference"
