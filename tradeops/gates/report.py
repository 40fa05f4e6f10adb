"""The evidence of a run's gates as one HTML file: no scripts, nothing fetched, the same bytes for the same evidence."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from tradeops.gates.chart import Line, chart
from tradeops.gates.evidence import Arm, Bounds, Evidence, Point, Ruling, Trace, Verdict
from tradeops.gates.style import STYLE

GLYPHS = {Ruling.PASS: "✓", Ruling.FAIL: "✗", Ruling.INCONCLUSIVE: "…", Ruling.NOT_JUDGED: "–"}
"""Never colour alone."""
_COLUMNS = ("metric", "ruling", "canary", "control", "rate", "ratio to control", "e-value", "still needed")


def report(title: str, traces: Sequence[Trace]) -> str:
    """The whole page. title: as `run 42: release … to production`.  traces: of its gates, in their order."""
    body = "".join(part for trace in traces for part in _gate(trace)) or "<p>No gate has judged in this run.</p>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{_text(title)}</h1>{_contents(traces)}{body}</main></body></html>\n"
    )


def _contents(traces: Sequence[Trace]) -> str:
    rows = "".join(f"<li>{_badge(trace.verdict.ruling)} {_text(trace.title)}</li>" for trace in traces)
    return f'<ol class="gates">{rows}</ol>' if len(traces) > 1 else ""


def _gate(trace: Trace) -> Iterator[str]:
    verdict = trace.verdict
    yield f"\n<section><h2>{_badge(verdict.ruling)} {_text(trace.title)}</h2>"
    yield "<ul>" + "".join(f"<li>{_text(why)}</li>" for why in verdict.why) + "</ul>"
    yield _facts(verdict)
    yield _table(verdict.metrics)
    for one in verdict.metrics:
        yield from _figures(one, trace.points.get(one.name, ()))
    yield "</section>"


def _facts(verdict: Verdict) -> str:
    state = "final" if verdict.final else "not final: something else ended the bake, see `tradeops runs show`"
    facts = [
        ("verdict", f"{verdict.ruling}, {state}" + (f", cause: {verdict.cause}" if verdict.cause else "")),
        ("compared with", verdict.compared),
        ("time", f"{verdict.elapsed_s:,.0f} s, of them {verdict.baked_s:,.0f} s with whole data; {verdict.bake_s:,.0f} s were asked for"),
        ("taken in", f"{verdict.exposure:,.0f}; at least {verdict.exposure_min:,} were asked for"),
        ("rounds", f"{verdict.rounds:,}"),
    ]
    facts += [(f"data of {host}", problem) for host, problem in sorted(verdict.problems.items())]
    return "<dl>" + "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts) + "</dl>"


def _table(metrics: Sequence[Evidence]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    rows = "".join(_row(one) for one in metrics)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(one: Evidence) -> str:
    e_value = "" if one.e_value is None or one.fails_at is None else f"{_short(one.e_value)} of {_short(one.fails_at)}"
    cells = (_arm(one.canary), _arm(one.control), _bounds(one.rate), _bounds(one.ratio), e_value, _needed(one))
    left_out = f"; {one.left_out} rounds left out, in which the control burst" if one.left_out else ""
    return (
        f'<tr><th scope="row">{_text(one.name).replace("_", "_<wbr/>")}</th><td>{_badge(one.ruling)}</td>'
        + "".join(f"<td>{_text(cell)}</td>" for cell in cells)
        + f'</tr><tr class="words"><td colspan="{len(_COLUMNS)}">{_text(one.text + left_out)}</td></tr>'
    )


def _figures(one: Evidence, points: Sequence[Point]) -> Iterator[str]:
    if len(points) < 2 or not any(point.canary or point.control for point in points):
        return  # a line along the bottom shows nothing that the table does not
    span = (points[0].at_s, points[-1].at_s)
    canary = Line("canary", [(point.at_s, point.canary) for point in points if point.canary is not None])
    control = Line("control", [(point.at_s, point.control) for point in points if point.control is not None])
    yield f"<figure><figcaption>{_text(one.name)}: canary (solid) beside control (dashed)</figcaption>{chart([canary, control], span)}"
    evidence = [(point.at_s, point.e_value) for point in points if point.e_value is not None]
    if evidence and one.fails_at:
        yield "<figcaption>evidence against the canary (e-value, logarithmic); it fails at the dotted line</figcaption>"
        yield chart([Line("evidence", evidence)], span, limit=one.fails_at)
    yield "</figure>"


def _badge(ruling: Ruling) -> str:
    return f'<span class="{ruling.name.lower()}">{GLYPHS[ruling]} {_text(ruling.value.upper())}</span>'


def _arm(arm: Arm | None) -> str:
    if arm is None:
        return ""
    rate = "" if arm.rate is None else f" = {arm.rate:.3g}"
    return f"{arm.events:,.0f} of {arm.exposure:,.0f}{rate}"


def _bounds(bounds: Bounds | None) -> str:
    if bounds is None:
        return ""
    low = "0" if bounds.low is None else f"{bounds.low:.3g}"
    return f"{low} to ∞" if bounds.high is None else f"{low} to {bounds.high:.3g}"


def _needed(one: Evidence) -> str:
    if one.needed is None or one.needed_s is None:
        return "" if one.e_value is None or one.ruling is not Ruling.INCONCLUSIVE else "cannot be told"
    return f"{one.needed:,.0f} in {one.needed_s:,.0f} s" if one.needed else "nothing"


def _short(value: float) -> str:
    return f"{value:,.0f}" if 100 <= value < 1e6 else f"{value:.2g}"


def _text(text: str) -> str:
    return html.escape(text)
