"""How log records look on stderr: a line for people, or a line of JSON for programs.

Only Wraith's own loggers are shown. Those of libraries may name destinations, so they stay silent.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time

from wraith.streams.log_line import render


class TextFormatter(logging.Formatter):
    """`2026-11-24 08:05:00 INFO connection opened remote_addr=…`; journald adds its own time."""

    def __init__(self, *, timestamp: bool, **fields: object) -> None:
        super().__init__()
        self._timestamp = timestamp
        self._fields = render("", fields)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of text."""
        line = f"{record.levelname} {record.getMessage()}{self._fields}"
        if not self._timestamp:
            return line
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record.created))} {line}"


class JsonFormatter(logging.Formatter):
    """One object a line, with the event's fields beside `time`, `level` and `event`."""

    def __init__(self, **fields: object) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.getMessage()),
        }
        line.update(getattr(record, "fields", {}))
        line.update(self._fields)
        return json.dumps(line, default=str)


def configure(level: str, style: str, **fields: object) -> None:
    """Send Wraith's log to stderr, with these fields on each line."""
    handler = logging.StreamHandler(sys.stderr)
    journald = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(
        JsonFormatter(**fields)
        if style == "json"
        else TextFormatter(timestamp=not journald, **fields)
    )
    own = logging.getLogger("wraith")
    own.handlers[:] = [handler]
    own.setLevel(level.upper())
    own.propagate = False
    # asyncio's own messages hold addresses: what matters of them comes through
    # `report.loop_exception`.
    for library in ("asyncio", "asyncssh"):
        logger = logging.getLogger(library)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
