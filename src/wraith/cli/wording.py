"""Status in words: durations, amounts and rates as people read them; pure."""

from __future__ import annotations

from wraith.client.status import Status

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def amount(count: float) -> str:
    """Bytes, with a decimal prefix: `0 B`, `1.5 kB`, `312 MB`."""
    for unit in _UNITS[:-1]:
        if count < 999.5:
            return f"{count:.0f} {unit}" if count >= 99.5 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """`8s`, `3m 12s`, `2h 5m`, `4d 1h`: two units at most."""
    whole = int(seconds)
    for size, unit, smaller, name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // smaller}{name}"
    return f"{whole}s"


def headline(status: Status) -> str:
    """The session in one line: state, for how long, which way, and what is open."""
    parts = [f"{status.state} {duration(status.since)}"]
    way = " ".join(word for word in (status.transport, status.path, status.server) if word)
    parts.append(way)
    if status.round_trip is not None:
        parts.append(f"{status.round_trip * 1000:.3g} ms")
    if status.reason:
        parts.append(status.reason)
    if status.retry_in is not None:
        left = max(0.0, status.retry_in - status.since)
        parts.append(f"next attempt in {left:.0f}s")
    elif not status.reason:
        parts.append(f"{status.channels} channel{'' if status.channels == 1 else 's'}")
    return " · ".join(parts)


def live_line(status: Status, up: float, down: float) -> str:
    """The headline, and the rates in bytes a second."""
    return f"{headline(status)} · ↑ {amount(up)}/s ↓ {amount(down)}/s"


def table(status: Status) -> list[str]:
    """One line for each interface, its columns aligned."""
    rows = [("interface", "listens on", "open", "in all", "in", "out")]
    rows += [
        (
            each.kind,
            each.listen,
            str(each.open),
            str(each.total),
            amount(each.bytes_in),
            amount(each.bytes_out),
        )
        for each in status.interfaces
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
