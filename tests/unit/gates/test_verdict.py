"""The judge as a whole: what passes, what fails, what is inconclusive (D10, D11)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.gaterun import BAKE_S, SPEC, errors, healthy, last, run, spec
from tests.support.gates import ARMS, CANARY, CONTROL, HOSTS, LATENCY, NEW, Daemon, daemons, reading
from tradeops.base.errors import UsageError
from tradeops.contracts.metrics import PREFIX, Gauge
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Cause, Evidence, Ruling, Verdict
from tradeops.gates.verdict import Gate

HOST = CANARY[0]


def of(verdict: Verdict, name: str) -> Evidence:
    return next(one for one in verdict.metrics if one.name == name)


def test_a_canary_like_the_control_passes() -> None:
    """After the bake and not before; every metric shown to be within its limits; with whom it was compared."""
    verdict = last(healthy)
    assert verdict.ruling is Ruling.PASS
    assert verdict.why == ("every metric is shown to be within its limits",)
    assert verdict.baked_s >= BAKE_S
    assert verdict.exposure >= verdict.exposure_min
    assert "control group" in verdict.compared
    assert {one.name for one in verdict.metrics if one.ruling is Ruling.PASS} == {*SPEC.metrics, "order_placement_latency_beside_control"}


def test_three_times_the_errors_fail() -> None:
    """Long before the bake is over, though the rate is under its absolute limit: the control is what it is judged against."""  # D11
    verdict = last(errors(6, 2))
    assert (verdict.ruling, verdict.cause) == (Ruling.FAIL, Cause.METRIC)
    assert verdict.why[0] == "error_rate: it is worse than the control"
    assert verdict.elapsed_s < BAKE_S
    found = of(verdict, "error_rate")
    assert found.e_value is not None and found.fails_at is not None
    assert found.e_value >= found.fails_at


def test_errors_over_the_absolute_limit_fail_even_where_the_control_has_them_too() -> None:
    """Both are checked."""  # D11
    verdict = last(errors(30, 30))
    assert verdict.why[0] == "error_rate: its rate is over the limit of 0.01"


def test_errors_without_any_signal_fail() -> None:
    """A canary that takes nothing in and makes errors all the same cannot hide behind its exposure."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for host, daemon in fleet.items():
            daemon.count(signals=0 if host in CANARY else 50, errors=host in CANARY)

    assert last(step).why[0].startswith("error_rate: its rate is over")


def test_a_difference_within_the_margin_is_allowed() -> None:
    """Half as many errors again as a busy control's, where the margin is eight: shown to be allowed before it is shown to be worse."""
    metric = {"kind": "ratio", "events": "tradeops_errors_total", "limit": "5%", "margin": 8.0, "rare": "0.01%"}
    verdict = last(errors(7.5, 5, signals=1000), gate_spec=spec(metrics={"error_rate": metric}))
    assert verdict.ruling is Ruling.PASS
    found = of(verdict, "error_rate")
    assert found.canary and found.control and found.canary.rate and found.control.rate
    assert found.canary.rate / found.control.rate == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize(("slow", "ruling", "why"), [(10, Ruling.FAIL, "over the limit"), (0.5, Ruling.INCONCLUSIVE, "not yet shown")])
def test_a_p99_over_its_limit_never_passes(slow: float, ruling: Ruling, why: str) -> None:
    """One order in five over half a second fails, on the control too; exactly one in a hundred is shown neither way."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for daemon in fleet.values():
            daemon.count(signals=50, slow=slow)

    metric = {"kind": "latency", "histogram": LATENCY, "limit": "300ms"}
    verdict = last(step, gate_spec=spec(metrics={"latency": metric}))
    assert verdict.ruling is ruling
    assert why in of(verdict, "latency").text
    assert "counted over the bucket edge at 0.5 s, the next above 0.3 s" in of(verdict, "latency").text


def test_a_p99_slower_than_the_controls_fails_under_the_absolute_limit() -> None:
    """Everything takes less than half a second; the control's own p99 lies at 10 ms, and one in twenty of the canary's over it."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        healthy(second, fleet)
        fleet[HOST].latencies[1] += 2.5

    verdict = last(step)
    assert verdict.why == ("order_placement_latency_beside_control: it is worse than the control; counted over the bucket edge at 0.01 s",)


@pytest.mark.parametrize(("orders", "why"), [(150, "more than 2 times"), (10, "less than 1/2")])
def test_orders_beside_the_control(orders: float, why: str) -> None:
    """A runaway, or one that has stopped trading: both within seconds, for every signal counts."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for host, daemon in fleet.items():
            daemon.count(signals=50, orders=orders if host == HOST else 50)

    verdict = last(step)
    assert why in verdict.why[0]
    assert verdict.elapsed_s < 10


def test_one_sample_beyond_a_hard_limit_fails_whatever_else_is_wrong() -> None:
    """Drawdown and loss; even while half of the control does not answer."""

    def change(second: int, outcomes: dict[str, object]) -> None:
        if second >= 5:
            del outcomes[CONTROL[0]]

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        healthy(second, fleet)
        fleet[HOST].gauges[PREFIX + Gauge.DRAWDOWN] = 20_000.0 if second == 10 else 0.0

    verdict = last(step, change=change)
    assert verdict.why == ("drawdown: host-1: 20,000 is over the hard limit of 10,000",)

    def losing(second: int, fleet: Mapping[str, Daemon]) -> None:
        healthy(second, fleet)
        fleet[HOST].gauges[PREFIX + Gauge.PNL] = -10_001.0

    assert last(losing).why == ("pnl: host-1: -10,001 is under the hard limit of -10,000",)


def test_profit_promotes_nothing() -> None:
    """A canary that earns and has taken in too little is held."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for daemon in fleet.values():
            daemon.gauges[PREFIX + Gauge.PNL] = 1e9

    assert last(step).ruling is Ruling.INCONCLUSIVE


def test_a_position_far_over_the_controls_fails_when_it_lasts() -> None:
    """A spike shorter than `sustained` is waited out; a small one, under the floor, is none."""

    def step(seconds: range, notional: float) -> Verdict:
        def each(second: int, fleet: Mapping[str, Daemon]) -> None:
            healthy(second, fleet)
            for host, daemon in fleet.items():
                daemon.gauges[PREFIX + Gauge.GROSS_NOTIONAL] = notional if host == HOST and second in seconds else notional / 10

        return last(each)

    lasting = step(range(20, 400), 200_000.0)
    assert lasting.why[0].startswith("gross_notional: host-1: 200,000 for 5 s, over the 60,000 that the control's 20,000 allow")
    assert step(range(20, 23), 200_000.0).ruling is Ruling.PASS
    assert step(range(20, 400), 9_000.0).ruling is Ruling.PASS


def test_a_spike_at_the_end_of_the_bake_is_waited_out() -> None:
    """PASS is given on what holds now."""

    def each(second: int, fleet: Mapping[str, Daemon]) -> None:
        healthy(second, fleet)
        fleet[HOST].gauges[PREFIX + Gauge.GROSS_NOTIONAL] = 50_000.0 if 117 <= second < 121 else 0.0

    verdicts = run(each)
    assert verdicts[-1].ruling is Ruling.PASS
    assert verdicts[-1].elapsed_s > BAKE_S
    assert "gross_notional: over what the control's allow on host-1" in verdicts[120].why


def test_time_alone_does_not_pass_and_events_alone_do_not() -> None:
    """A long bake without orders is held; a flood of them passes only when the time is over."""  # D10
    held = last(lambda second, fleet: None, bake_s=150.0)
    assert (held.ruling, held.final, held.cause) == (Ruling.INCONCLUSIVE, True, Cause.NONE)
    assert "the canary has taken in 0 of the 300 that are asked for" in held.why
    assert held.needed_s is None
    flood = run(errors(1, 1, signals=5000))
    assert flood[-1].ruling is Ruling.PASS
    assert flood[-1].elapsed_s >= BAKE_S


def test_what_was_counted_before_the_bake_is_not_in_its_window() -> None:
    """A million good signals before the start are no evidence."""  # D10
    fleet = daemons()
    for daemon in fleet.values():
        daemon.count(signals=1e6)
    gate = Gate(SPEC, ARMS, bake_s=0.0, exposure_min=300, now_s=0.0)
    for second in range(3):
        verdict = gate.feed(reading(fleet, float(second)), float(second))
    assert verdict.exposure == 0
    assert verdict.ruling is Ruling.INCONCLUSIVE


def test_the_outlook_says_how_much_is_still_needed() -> None:
    """Exposure and seconds until PASS at the current rate, and bounds that narrow; close to what it then takes."""
    fleet, gate = daemons(), Gate(SPEC, ARMS, bake_s=10.0, exposure_min=300, now_s=0.0)
    step = errors(2, 2)
    first: Verdict | None = None
    for second in range(900):
        verdict = gate.feed(reading(fleet, float(second)), float(second), outlook=True)
        step(second, fleet)
        first = verdict if second == 20 else first
        if verdict.final:
            break
    assert first is not None and first.needed_s is not None
    assert verdict.ruling is Ruling.PASS
    assert first.needed_s + 20 == pytest.approx(verdict.elapsed_s, rel=0.35)
    early, late = of(first, "error_rate"), of(verdict, "error_rate")
    assert early.needed and early.needed_s == pytest.approx(early.needed / 50)
    assert late.needed == 0
    assert late.rate is not None and late.rate.low is not None and late.rate.high is not None
    assert late.rate.low < 0.002 < late.rate.high < 0.01
    assert late.ratio is not None and late.ratio.high is not None
    assert late.ratio.high <= 3


def test_the_last_word_has_its_bounds_without_being_asked_for_them() -> None:
    """What is kept and told is whole, whichever reading it fell on."""
    fleet, gate = daemons(), Gate(SPEC, ARMS, bake_s=10.0, exposure_min=300, now_s=0.0)
    step = errors(8, 2)
    for second in range(900):
        verdict = gate.feed(reading(fleet, float(second)), float(second), outlook=False)
        step(second, fleet)
        if verdict.final:
            break
        assert of(verdict, "error_rate").ratio is None
    assert verdict.ruling is Ruling.FAIL
    bounds = of(verdict, "error_rate").ratio
    assert bounds is not None and bounds.low is not None
    assert 1 < bounds.low < 4


def test_a_histogram_that_ends_below_the_limit_never_passes() -> None:
    """Nothing is ever counted over it, and nothing shown by that."""
    metric = {"kind": "latency", "histogram": LATENCY, "limit": "2s"}
    verdict = last(healthy, gate_spec=spec(metrics={"latency": metric}))
    assert verdict.ruling is Ruling.INCONCLUSIVE
    assert "the histogram has no bucket edge at or above 2 s" in of(verdict, "latency").text


def test_pass_is_given_on_a_round_and_never_between_two() -> None:
    """What held it back at the last whole round is over on the canary, while the control has no newer samples yet."""
    fleet, gate = daemons(), Gate(SPEC, ARMS, bake_s=90.0, exposure_min=300, now_s=0.0)
    for second in range(91):
        fleet[HOST].gauges[PREFIX + Gauge.GROSS_NOTIONAL] = 50_000.0 if second == 90 else 0.0
        held = gate.feed(reading(fleet, float(second)), float(second))
        if second < 90:
            healthy(second, fleet)
    fleet[HOST].gauges[PREFIX + Gauge.GROSS_NOTIONAL] = 0.0
    verdict = gate.feed(reading(fleet, 90.0) | reading({HOST: fleet[HOST]}, 91.0), 91.0)
    assert held.why == ("gross_notional: over what the control's allow on host-1",)
    assert verdict.why == ("waiting for newer samples of every host",)
    assert gate.feed(reading(fleet, 92.0), 92.0).ruling is Ruling.PASS


def test_no_evidence_at_all_has_no_outlook() -> None:
    """Nothing is made up."""
    gate = Gate(SPEC, ARMS, bake_s=10.0, exposure_min=300, now_s=0.0)
    assert gate.trace("a canary") is None
    verdict = gate.feed({}, 1.0)
    assert of(verdict, "error_rate").needed is None
    assert verdict.needed_s is None
    assert set(verdict.problems) == set(HOSTS)


def test_a_gate_has_a_canary_and_nobody_is_on_both_sides() -> None:
    """An empty set is an error."""
    with pytest.raises(UsageError, match="at least one canary"):
        Arms({})
    with pytest.raises(UsageError, match="canary and control at once: host-1"):
        Arms({HOST: NEW}, {HOST: NEW})
