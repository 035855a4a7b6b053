"""The results as a picture: one panel a figure, one bar a peer, spread as a thin line.

Panels scale to the tunnels. A limit (direct TCP, microsocks) that is far beyond them is cut at the
edge and says its number there, so that the difference between rivals stays visible.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from bench.figures import Figure
from bench.peers import ALL, BASES, Wraith
from bench.report import machine_line, number
from bench.results import Results

_INK, _FAINT, _PAPER = "#1f2430", "#6f7787", "#ffffff"
_WRAITH, _WRAITH_LIGHT = "#6c4ee3", "#b8a9f5"
_OPENSSH, _OTHER, _LIMIT = "#8494b0", "#bcc5d3", "#e6e9ef"
_COLUMNS = 3
_LIMITS = {kind.name for kind in ALL if kind.is_limit}


def draw(results: Results, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.svg."""
    figures = results.figures()
    rows = -(-len(figures) // _COLUMNS)
    bars = max(len(results.peers_of(figure)) for figure in figures)
    panel = 0.62 + 0.27 * bars
    height = panel * rows + 2.0
    mpl.rcParams.update(
        {"font.family": "DejaVu Sans", "svg.hashsalt": "wraith", "svg.fonttype": "path"}
    )
    canvas = Canvas(figsize=(14, height), facecolor=_PAPER)
    FigureCanvasAgg(canvas)
    grid = canvas.add_gridspec(
        rows,
        _COLUMNS,
        left=0.115,
        right=0.985,
        top=1 - 1.32 / height,
        bottom=0.85 / height,
        wspace=0.42,
        hspace=0.62 / (0.27 * bars),
    )
    for place, figure in enumerate(figures):
        _panel(canvas.add_subplot(grid[divmod(place, _COLUMNS)]), results, figure, bars)
    _words(canvas, results, height)
    written = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    canvas.savefig(written[0], dpi=130)
    canvas.savefig(written[1], metadata={"Date": None})
    return written


def _panel(axes: Axes, results: Results, figure: Figure, most_bars: int) -> None:
    peers = results.peers_of(figure)
    edge = _edge(results, figure, peers)
    thickness = 0.7 * len(peers) / most_bars  # the same in every panel
    for row, peer in enumerate(peers):
        _bar(axes, results, figure, peer, row, edge, thickness)
    axes.set_yticks(range(len(peers)), peers)
    for tick, peer in zip(axes.get_yticklabels(), peers, strict=True):
        tick.set_color(_WRAITH if peer == Wraith.name else _INK)
        tick.set_fontweight("bold" if peer == Wraith.name else "normal")
        tick.set_fontsize(8.5)
    better = "more is better" if figure.more_is_better else "less is better"
    axes.set_title(figure.title, loc="left", fontsize=10, fontweight="bold", color=_INK, pad=17)
    subtitle = f"{figure.unit}, {better}"
    above = axes.transAxes
    axes.text(0, 1.0, subtitle, transform=above, fontsize=8, color=_FAINT, va="bottom")
    axes.set_xlim(0, edge * 1.5)
    axes.set_ylim(len(peers) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color("#c3c8d2")


def _bar(
    axes: Axes, results: Results, figure: Figure, peer: str, row: int, edge: float, thickness: float
) -> None:
    """One bar with its spread, its number, and its ratio to the first base."""
    spread = results.spread(figure, peer)
    assert spread is not None
    cut = spread.median > edge
    axes.barh(row, min(spread.median, edge), height=thickness, color=_colour(peer), zorder=2)
    if cut:
        axes.plot(edge * 0.975, row, ">", color=_FAINT, ms=5, zorder=4)
    else:
        high = min(spread.high, edge)
        ends = [spread.low, high] if spread.high <= edge else [spread.low]
        axes.hlines(row, spread.low, high, color=_INK, lw=1.0, zorder=3)
        axes.vlines(ends, row - thickness / 5, row + thickness / 5, color=_INK, lw=1.0, zorder=3)
    base = next((base for base in BASES if base in results.peers), None)
    ratio = results.ratio(figure, peer, base) if base and peer != base else None
    text = number(spread.median) + (f"  ({number(ratio.median)}x)" if ratio else "")
    bold = "bold" if peer == Wraith.name else "normal"
    x = max(min(spread.median, edge), min(spread.high, edge)) + edge * 0.02
    axes.text(x, row, text, va="center", fontsize=8.2, color=_INK, fontweight=bold, zorder=5)


def _edge(results: Results, figure: Figure, peers: list[str]) -> float:
    """Where bars end: a little beyond the longest tunnel, or at the longest bar if that is near."""
    spreads = {peer: spread for peer in peers if (spread := results.spread(figure, peer))}
    tunnels = [spread.high for peer, spread in spreads.items() if peer not in _LIMITS]
    longest = max(spread.high for spread in spreads.values())
    return (min(longest, 1.15 * max(tunnels)) if tunnels else longest) or 1.0


def _colour(peer: str) -> str:
    if peer == Wraith.name:
        return _WRAITH
    if peer.startswith(Wraith.name):
        return _WRAITH_LIGHT
    if peer in BASES:
        return _OPENSSH
    return _LIMIT if peer in _LIMITS else _OTHER


def _words(canvas: Canvas, results: Results, height: float) -> None:
    """Title and caption."""
    measured = Wraith.name in results.peers
    title = "Wraith beside OpenSSH" if measured else "SSH tunnels and their neighbours"
    canvas.text(0.012, 1 - 0.38 / height, title, fontsize=17, fontweight="bold", color=_INK)
    base = next((base for base in BASES if base in results.peers), None)
    ratio = f"; x is the ratio to {base}, round by round" if base else ""
    explanation = (
        f"Bars: median of {results.repetitions} interleaved repetitions on loopback. "
        f"Lines: least to greatest{ratio}. Pale: no encryption."
    )
    canvas.text(0.012, 1 - 0.64 / height, explanation, fontsize=9.5, color=_FAINT)
    missing = ", ".join(results.missing)
    lines = [
        f"$ {results.command}",
        *textwrap.wrap(f"{machine_line(results)}. {results.date}.", 200),
        *textwrap.wrap(f"Not measured here: {missing}." if missing else "", 200),
    ]
    canvas.text(
        0.012,
        0.14 / height,
        "\n".join(lines),
        fontsize=8,
        color=_FAINT,
        va="bottom",
        linespacing=1.5,
    )
