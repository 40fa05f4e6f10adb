"""A gate while it judges, for a screen: canary beside control with a sparkline, evidence so far, and what is still needed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from tradeops.cli.marks import named
from tradeops.cli.render import clean, styled
from tradeops.cli.report import GOING, NO, YES, age
from tradeops.deploy.site import GateProgress
from tradeops.gates.evidence import Bounds, Evidence, Point, Ruling, Trace

_GLYPHS: Final = {Ruling.FAIL: NO, Ruling.INCONCLUSIVE: GOING, Ruling.PASS: YES, Ruling.NOT_JUDGED: "–"}
"""In the order in which metrics are shown."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_SPARK: Final = 12
_NUMBER: Final = 8
_AGAINST: Final = 14
_WIDE: Final = 72
"""Room for sparkline and evidence beside the numbers."""


def headline(told: GateProgress) -> str:
    """Who is judged beside whom, how far it is, and how long it takes at the current rate."""
    verdict = told.trace.verdict
    others = len(told.arms.control)
    beside = "alone" if not others else f"beside {others} that passed" if told.arms.peers else f"beside {others} old"
    left = "" if verdict.needed_s is None or verdict.final else f", about {age(verdict.needed_s)} to go"
    so_far = f"{verdict.exposure:,.0f} of {verdict.exposure_min:,} events, {verdict.baked_s:.0f} of {verdict.bake_s:.0f} s"
    return f"{named(tuple(told.arms.canary))} {beside}: {so_far}{left}"


def one_line(told: GateProgress) -> str:
    """All of it for a pipe: the metric nearest to failing, and why it is so."""
    weighed = [one for one in _ordered(told.trace) if one.e_value is not None]
    numbers = [f"{one.name} {' beside '.join(_pair(told.trace, one))}, {_against(one)} against it" for one in weighed[:1]]
    verdict = told.trace.verdict
    ruling = f"{verdict.ruling}, " if verdict.final else ""
    return "; ".join((f"{ruling}{headline(told)}", *numbers, verdict.why[0]))


def case(told: GateProgress, one: Evidence) -> tuple[str, str]:
    """What a metric came to, as the state of a step and in words: rates, the interval of their ratio, the evidence, the ruling."""
    verdict = told.trace.verdict
    states = {Ruling.PASS: "done", Ruling.FAIL: "failed", Ruling.NOT_JUDGED: "skipped"}
    undecided = "skipped" if verdict.ruling is Ruling.FAIL else "unknown"
    held = verdict.ruling is Ruling.INCONCLUSIVE and one.ruling is Ruling.PASS  # well so far, on too little to say so
    words = [f"canary {' beside '.join(_pair(told.trace, one))}"]
    words += [f"{name} {_between(bounds)}" for name, bounds in (("rate", one.rate), ("ratio to control", one.ratio)) if bounds]
    words += [f"{_against(one)} against it"] if one.e_value is not None else []
    state = undecided if held else states.get(one.ruling, undecided)
    return state, "; ".join((*words, one.text, *(verdict.why[:1] if held else ())))


def _between(bounds: Bounds) -> str:
    return f"{_number(bounds.low or 0.0)} to {'∞' if bounds.high is None else _number(bounds.high)}"


def lines(told: GateProgress, width: int, rows_max: int) -> list[Any]:
    """A heading and a line per metric, each of at most `width` columns; of more than `rows_max` the weightiest."""
    from rich.text import Text

    ordered = _ordered(told.trace)
    shown = ordered if len(ordered) <= rows_max else ordered[: rows_max - 1]
    drawn = [Text(_row(("metric", "canary", "control", "canary so far", "evidence"), width), style="dim")]
    for one in shown:
        points = told.trace.points.get(one.name, ())
        cells = (f"{_GLYPHS[one.ruling]} {clean(one.name)}", *_pair(told.trace, one), spark(points), _against(one))
        drawn.append(Text(_row(cells, width), style=styled(cells[0])))
    if rest := len(ordered) - len(shown):
        drawn.append(Text(f"… {rest} more"))
    return drawn


def spark(points: Sequence[Point]) -> str:
    """The canary's own line in a few bars, each the mean of as many rounds; full height is the most that either arm showed."""
    values = [point.canary for point in points if point.canary is not None]
    size = math.ceil(len(values) / _SPARK)
    means = [sum(group) / len(group) for at in range(0, len(values), size or 1) if (group := values[at : at + size])]
    top = max([*means, *(point.control for point in points if point.control is not None)], default=0.0)
    return "".join(_BARS[min(len(_BARS) - 1, int(len(_BARS) * max(0.0, mean) / top))] if top > 0 else _BARS[0] for mean in means)


def _ordered(trace: Trace) -> list[Evidence]:
    """Those that fail, then those that are open, each with the strongest evidence against the canary first."""
    rank = list(_GLYPHS)
    return sorted(trace.verdict.metrics, key=lambda one: (rank.index(one.ruling), -(one.e_value or 0.0) / (one.fails_at or 1.0)))


def _pair(trace: Trace, one: Evidence) -> tuple[str, str]:
    """Canary and control: rates so far of what is counted, the newest levels of gauges."""
    newest = trace.points.get(one.name, (Point(0.0, None, None),))[-1]
    canary = one.canary.rate if one.canary else newest.canary
    control = one.control.rate if one.control else newest.control
    return _number(canary), _number(control)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _against(one: Evidence) -> str:
    """How strong the evidence against the canary is, and at what strength it fails."""
    if one.e_value is None or one.fails_at is None:
        return ""
    return f"{_number(min(one.e_value, one.fails_at))} of {_number(one.fails_at)}"


def _row(cells: tuple[str, str, str, str, str], width: int) -> str:
    name, canary, control, line, against = cells
    end = f" {canary:>{_NUMBER}} {control:>{_NUMBER}}"
    if width >= _WIDE:
        end += f"  {line:<{_SPARK}} {against:>{_AGAINST}}"
    room = max(1, width - len(end))
    return f"{name if len(name) <= room else name[: room - 1] + '…':<{room}}{end}"[:width]
