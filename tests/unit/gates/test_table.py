"""The error rates in runbooks/gates.md are those of the code: computed anew and compared."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.support.gatestats import fail_bounds, pass_bounds, share_at, stops
from tradeops.gates.stats import RatioEvidence, more_needed

PAGE = Path(__file__).parents[3] / "runbooks" / "gates.md"
FAIL_EVENTS, PASS_EVENTS = 1500, 600


def failing() -> list[str]:
    """How often and how soon a canary fails, by how much worse it is."""
    bounds = fail_bounds(FAIL_EVENTS, alpha=0.01)
    rows = ["| true rate ratio | fails within 1,500 events | median events until FAIL | of them on the canary |", "|--:|--:|--:|--:|"]
    for ratio in (0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0):
        found = stops(bounds, ratio, fail=True)
        median = "–" if found.median is None else f"{found.median:,}"
        own = "–" if found.median is None else f"{found.median * share_at(ratio):.0f}"
        rows.append(f"| {ratio:g} | {found.ever:.2%} | {median} | {own} |")
    return rows


def passing() -> list[str]:
    """How soon a canary like the control passes, and how often one that is worse by the whole margin does."""
    rows = [
        "| margin | median events until PASS, canary like the control | passes within 600 events, canary worse by the margin |",
        "|--:|--:|--:|",
    ]
    for margin in (1.5, 2.0, 3.0, 5.0):
        bounds = pass_bounds(PASS_EVENTS, margin=margin)
        rows.append(f"| {margin:g} | {stops(bounds, 1.0, fail=False).median:,} | {stops(bounds, margin, fail=False).ever:.2%} |")
    return rows


def absolute() -> list[str]:
    """How much exposure without a single event shows a rate to be under a limit."""
    rows = ["| limit | confidence | without an event, one look at the end | without an event, looked at any time |", "|--:|--:|--:|--:|"]
    for limit, confidence in ((0.01, 0.95), (0.01, 0.99), (0.001, 0.95)):
        once = math.ceil(math.log(1 - confidence) / math.log(1 - limit))
        rows.append(f"| {limit:.1%} | {confidence:.0%} | {once:,} | {_any_time(limit, confidence):,} |")
    return rows


def _any_time(limit: float, confidence: float) -> int:
    def under(exposure: float) -> bool:
        evidence = RatioEvidence()
        evidence.add_count(0, limit * exposure)
        return evidence.log_below(1.0) >= -math.log(1 - confidence)

    needed = more_needed(under)
    assert needed is not None
    return round(needed)


@pytest.mark.parametrize("table", [failing, passing, absolute])
def test_the_page_has_the_table_as_computed(table: object) -> None:
    """To the last digit shown."""
    assert callable(table)
    text = "\n".join(table())
    assert text in PAGE.read_text(), f"runbooks/gates.md should have:\n{text}"
