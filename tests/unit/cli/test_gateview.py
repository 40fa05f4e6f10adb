"""What a metric of a gate came to, as a step of the run for reports and CI."""

from __future__ import annotations

import pytest

from tradeops.cli.gateview import case, one_line
from tradeops.deploy.site import GateProgress
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import TRACE_SCHEMA, Arm, Bounds, Cause, Evidence, Ruling, Trace, Verdict


def told(ruling: Ruling, *metrics: Evidence) -> GateProgress:
    """A gate with its last word."""
    verdict = Verdict(ruling, True, Cause.NONE, ("so it is",), "the control group", 9.0, 8.0, 3.0, 40.0, 20, 5.0, metrics, {}, 8)
    return GateProgress("run-7", Arms({"h1": "new"}, {"h2": "old", "h3": "old"}), Trace(TRACE_SCHEMA, "step 1", verdict, {}))


def counted(ruling: Ruling, *, low: float | None = 1.2, high: float | None = 6.0) -> Evidence:
    """Rejects of both arms."""
    arms = Arm(18, 40), Arm(26, 238)
    return Evidence(
        "reject_ratio", ruling, "in words", canary=arms[0], control=arms[1], ratio=Bounds(low, high), e_value=500.0, fails_at=400.0
    )


def test_a_metric_is_told_with_both_rates_the_interval_and_the_evidence() -> None:
    """What a person would ask of a red case."""
    one = counted(Ruling.FAIL)
    words = "canary 0.45 beside 0.109; ratio to control 1.2 to 6; 400 of 400 against it; in words"
    assert case(told(Ruling.FAIL, one), one) == ("failed", words)
    open_end = counted(Ruling.PASS, low=None, high=None)
    assert "ratio to control 0 to ∞; " in case(told(Ruling.PASS, open_end), open_end)[1]


@pytest.mark.parametrize(
    ("ruling", "of_gate", "state"),
    [
        (Ruling.PASS, Ruling.FAIL, "done"),
        (Ruling.NOT_JUDGED, Ruling.PASS, "skipped"),
        (Ruling.INCONCLUSIVE, Ruling.INCONCLUSIVE, "unknown"),
        (Ruling.PASS, Ruling.INCONCLUSIVE, "unknown"),
        (Ruling.INCONCLUSIVE, Ruling.FAIL, "skipped"),
    ],
)
def test_what_is_undecided_is_never_passed(ruling: Ruling, of_gate: Ruling, state: str) -> None:
    """D11: an error of its own where it held the gate up; where another metric failed it, not decided."""
    one = counted(ruling)
    assert case(told(of_gate, one), one)[0] == state


def test_a_level_has_its_newest_values_alone() -> None:
    """Neither interval nor evidence."""
    one = Evidence("drawdown", Ruling.PASS, "within its hard limit")
    assert case(told(Ruling.PASS, one), one) == ("done", "canary – beside –; within its hard limit")


def test_the_last_word_says_what_it_is() -> None:
    """In a pipe and in the report: the ruling first, nothing to go any more."""
    line = one_line(told(Ruling.FAIL, counted(Ruling.FAIL)))
    assert line == "fail, h1 beside 2 old: 40 of 20 events, 8 of 3 s; reject_ratio 0.45 beside 0.109, 400 of 400 against it; so it is"
