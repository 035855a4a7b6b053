"""One event, one line: `connection opened remote_addr=203.0.113.50 transport=tls`.

Values are quoted where they need it and escaped, so that no user name or server's text can forge a
second field or a second line. The fields also travel with the log record, for those who want JSON.
"""

from __future__ import annotations

import json
import logging
import re

_PLAIN = re.compile(r"[A-Za-z0-9_.,:/+@%\[\]-]+")


def render(event: str, fields: dict[str, object]) -> str:
    """The line for an event: its name, then `key=value` pairs."""
    return " ".join([event, *(f"{key}={quote(value)}" for key, value in fields.items())])


def quote(value: object) -> str:
    """A value as it stands in a line: bare when nothing in it could be misread."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def log_event(logger: logging.Logger, level: int, event: str, **fields: object) -> None:
    """Log an event; `event` is fixed text, everything variable is a field."""
    if logger.isEnabledFor(level):
        line = render(event, fields)
        logger.log(level, "%s", line, extra={"event": event, "fields": fields})
