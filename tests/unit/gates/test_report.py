"""The evidence as a page: whole, escaped, the same every time, and readable without scripts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import msgspec

from tests.support.gaterun import SPEC, Step, errors, healthy
from tests.support.gates import ALONE, ARMS, daemons, reading
from tradeops.contracts.codec import decode, encode
from tradeops.gates.arms import Arms
from tradeops.gates.chart import POINTS_MAX, Line, chart
from tradeops.gates.evidence import TRACE_SCHEMA, Trace
from tradeops.gates.report import report
from tradeops.gates.verdict import Gate


def traced(step: Step, title: str, *, arms: Arms = ARMS, seconds: int = 130) -> Trace:
    """The trace of a gate, as it is kept with the run and read back."""
    fleet, gate = daemons(arms), Gate(SPEC, arms, bake_s=120.0, exposure_min=300, now_s=0.0)
    for second in range(seconds):
        gate.feed(reading(fleet, float(second)), float(second))
        step(second, fleet)
    trace = gate.trace(title)
    assert trace is not None
    return decode(encode(trace), Trace, source="a run's folder")


def test_a_page_shows_each_gate_with_its_words_and_lines() -> None:
    """What passed, what failed and why, with whom it was compared; canary beside control; evidence over time."""
    traces = [traced(healthy, "wave 1"), traced(errors(6, 2), "wave 2"), traced(healthy, "wave 3", arms=ALONE)]
    assert traces[0].schema == TRACE_SCHEMA
    page = report("run 7: sha256:new to <production>", traces)
    assert page == report("run 7: sha256:new to <production>", traces)
    assert "&lt;production&gt;" in page and "<production>" not in page
    for text in ("✓ PASS", "✗ FAIL", "– NOT JUDGED", "error_rate: it is worse than the control", "absolute limits alone", "of 800"):
        assert text in page
    assert "http" not in re.sub(r'aria-label="[^"]*"', "", page)
    tags = {element.tag for element in ET.fromstring(page.removeprefix("<!doctype html>")).iter()}
    assert not tags & {"script", "link", "img", "iframe", "object"}
    assert page.count('class="canary"') == 5


def test_what_is_not_known_is_not_made_up() -> None:
    """A gate that has hardly begun, with a host that does not answer; a run without any gate."""
    fleet, gate = daemons(), Gate(SPEC, ARMS, bake_s=120.0, exposure_min=300, now_s=0.0)
    for second in range(4):
        gate.feed(reading(fleet, float(second), without=["host-3"] if second == 3 else []), float(second))
    trace = gate.trace("wave 1")
    assert trace is not None
    page = report("run 8", [trace])
    for text in (
        "… INCONCLUSIVE",
        "not final: something else ended the bake",
        "data of host-3",
        "it was not read",
        "cannot be told",
        "0 to ∞",
        "0 of 0",
    ):
        assert text in page
    assert "No gate has judged" in report("run 9", [])


def test_a_failure_for_want_of_data_says_so() -> None:
    """The cause is on the page."""
    trace = traced(healthy, "wave 1", seconds=20)
    verdict = msgspec.structs.replace(trace.verdict, problems={"host-1": "<b>"}, needed_s=None)
    page = report("run", [msgspec.structs.replace(trace, verdict=verdict)])
    assert "data of host-1</dt><dd>&lt;b&gt;" in page


def test_a_long_gate_is_drawn_in_few_points() -> None:
    """A day of seconds is no larger than a minute; nothing at all is still a chart."""
    many = [(float(at), 1.0 + at % 2) for at in range(86_400)]
    drawn = chart([Line("canary", many)], (0.0, 86_399.0))
    assert drawn.count("L") < POINTS_MAX
    assert len(drawn) < 5000
    assert "<svg" in chart([Line("canary", [])], (0.0, 0.0))


def test_tiny_evidence_stays_on_the_chart() -> None:
    """Zero has no logarithm."""
    drawn = chart([Line("evidence", [(0.0, 0.0), (1.0, 1e-300), (2.0, 1e5)])], (0.0, 2.0), limit=800.0)
    assert 'class="limit"' in drawn
    assert ">0.01<" in drawn
