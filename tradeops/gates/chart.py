"""A small line chart as inline SVG, in the colours of the page around it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 130, 64, 18, 8
POINTS_MAX = 50
"""Points of a line; of more, each is the mean of some."""
_LOG_MIN = -2.0
"""An e-value of less than a hundredth is drawn there: how little it is says nothing more."""


@dataclass(frozen=True)
class Line:
    """kind: canary, control or evidence: its class in the page's style.  points: seconds and values."""

    kind: str
    points: Sequence[tuple[float, float]]


def chart(lines: Sequence[Line], span: tuple[float, float], *, limit: float | None = None) -> str:
    """The lines over `span` seconds. limit: drawn across, on a logarithmic scale."""
    thin = [Line(line.kind, [(at, _log(value) if limit else value) for at, value in _thinned(line.points)]) for line in lines]
    values = [value for line in thin for _, value in line.points] + ([math.log10(limit)] if limit else [])
    low, high = min([*values, 0.0]), max([*values, 0.0])
    high = high if high > low else low + 1

    def place(at: float, value: float) -> tuple[float, float]:
        across = (at - span[0]) / (span[1] - span[0] or 1)
        up = (value - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - 8), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    marks = [_mark(place(span[0], value), f"{10**value:.3g}" if limit else f"{value:.3g}") for value in (low, high)]
    if limit:
        (left, across), (right, _) = place(span[0], math.log10(limit)), place(span[1], 0)
        marks.append(f'<path class="limit" d="M{left:.1f} {across:.1f}H{right:.1f}"/>')
    for at, anchor in ((span[0], "start"), (span[1], "end")):
        x, _ = place(at, low)
        marks.append(f'<text x="{x:.1f}" y="{HEIGHT - 4}" text-anchor="{anchor}">{at:,.0f} s</text>')
    drawn = [f'<path class="{line.kind}" d="{_path(place(*point) for point in line.points)}"/>' for line in thin if line.points]
    label = " beside ".join(f"{line.kind}, last {line.points[-1][1]:.3g}" for line in lines if line.points)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(marks)}{"".join(drawn)}</svg>'


def _mark(at: tuple[float, float], text: str) -> str:
    x, y = at
    return f'<path class="grid" d="M{x:.1f} {y:.1f}H{WIDTH - 8}"/><text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'


def _path(places: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _log(value: float) -> float:
    return max(_LOG_MIN, math.log10(value)) if value > 0 else _LOG_MIN


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most POINTS_MAX, each the mean of its neighbours, at the time of the last of them."""
    size = math.ceil(len(points) / POINTS_MAX)
    groups = [points[at : at + size] for at in range(0, len(points), size or 1)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
