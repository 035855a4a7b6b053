"""The results as text: a table a figure, then Wraith against its targets."""

from __future__ import annotations

from bench.figures import Figure
from bench.peers import BASES, Wraith
from bench.results import Results, Spread

_NAME, _VALUE, _RATIO = 20, 32, 26


def render(results: Results) -> str:
    """Everything a reader at a terminal wants."""
    parts = [_head(results)]
    parts += [_table(results, figure) for figure in results.figures()]
    parts += [text for text in (_targets(results), _notes(results)) if text]
    return "\n\n".join(parts) + "\n"


def number(value: float) -> str:
    """Three or four digits that matter, with thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def spread_text(spread: Spread) -> str:
    """The median, and the samples' edges in brackets."""
    return f"{number(spread.median)} [{number(spread.low)} … {number(spread.high)}]"


def machine_line(results: Results) -> str:
    """The machine in one line."""
    facts = results.machine
    cpu = " ".join(facts["cpu"].replace("(R)", "").replace("(TM)", "").split())
    ssh = facts["openssh"].partition(",")[0].replace("_", " ")
    return f"{cpu}, {facts['cores']} cores, {facts['kernel']}, Python {facts['python']}, {ssh}"


def _head(results: Results) -> str:
    return "\n".join(
        [
            results.command,
            machine_line(results),
            f"{results.date}, load before {results.machine['load at the start']}",
            f"median [least … greatest] of {results.repetitions} interleaved repetitions; "
            "ratios are taken round by round",
        ]
    )


def _table(results: Results, figure: Figure) -> str:
    peers = results.peers_of(figure)
    bases = [base for base in BASES if base in peers]
    better = "more is better" if figure.more_is_better else "less is better"
    heads = "".join(f"{'/ ' + base:<{_RATIO}}" for base in bases)
    lines = [figure.title, f"  {f'{figure.unit}, {better}':<{_NAME + _VALUE}}{heads}".rstrip()]
    for peer in peers:
        spread = results.spread(figure, peer)
        assert spread is not None
        ratios = ""
        for base in bases:
            ratio = results.ratio(figure, peer, base)
            shown = "" if ratio is None or peer == base else spread_text(ratio)
            ratios += f"{shown:<{_RATIO}}"
        lines.append(f"  {peer:<{_NAME}}{spread_text(spread):<{_VALUE}}{ratios}".rstrip())
    return "\n".join(lines)


def _targets(results: Results) -> str:
    """Wraith's aims and what it reached; empty when it was not measured."""
    lines = []
    for figure in results.figures():
        reached = results.spread(figure, Wraith.name)
        if reached is None:
            continue
        if figure.limit is not None:
            mark = _mark(reached.median <= figure.limit)
            aim = f"≤ {number(figure.limit)} {figure.unit}"
            lines.append(f"  {mark} {figure.title:<44}{number(reached.median):>9}   {aim}")
        sign = "≥" if figure.more_is_better else "≤"
        for base, target in figure.targets.items():
            ratio = results.ratio(figure, Wraith.name, base)
            if ratio is None:
                continue
            met = ratio.median >= target if figure.more_is_better else ratio.median <= target
            aim = f"{sign} {number(target)} x {base}"
            lines.append(f"  {_mark(met)} {figure.title:<44}{number(ratio.median):>9}   {aim}")
    if not lines:
        return ""
    return "\n".join(["wraith and its targets (they fail nothing)", *lines])


def _mark(met: bool) -> str:
    return "✓" if met else "·"


def _notes(results: Results) -> str:
    lines = [f"  not measured: {peer}: {reason}" for peer, reason in results.missing.items()]
    lines += [f"  failed: {text}" for text in results.failures]
    lines += [f"  WRONG BYTES: {text}" for text in results.wrong_bytes]
    return "\n".join(["notes", *lines]) if lines else ""
