"""Mistakes that other tools are known for, each judged rightly here."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.gaterun import errors, healthy, last, spec
from tests.support.gates import CANARY, CONTROL, LATENCY, Daemon
from tradeops.base.errors import Unreachable
from tradeops.contracts.metrics import PREFIX, Counter
from tradeops.fleet.outcome import Failed, Outcome
from tradeops.gates.evidence import Cause, Ruling, Verdict
from tradeops.gates.samples import Sample

ERRORS = {"error_rate": {"kind": "ratio", "events": PREFIX + Counter.ERRORS, "limit": "50%", "rare": "0.01%"}}
HOST = CANARY[0]


def test_kayenta_6278_a_hundred_times_worse_in_seven_intervals_of_ten_fails() -> None:
    """spinnaker#6278: three good intervals in ten made a rank test of averages pass it."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for host, daemon in fleet.items():
            worse = host == HOST and second % 10 < 7
            daemon.count(signals=1000, errors=10 if worse else second % 10 == 0)

    verdict = last(step, gate_spec=spec(metrics=ERRORS))
    assert verdict.why == ("error_rate: it is worse than the control",)


def test_kayenta_426_a_few_errors_against_none_do_not_pass() -> None:
    """kayenta#426: errors 0, 1, 2, 1, 0, 0 against none at all were a pass. One more, and they are a failure."""

    def beside_none(*series: int) -> Verdict:
        def step(second: int, fleet: Mapping[str, Daemon]) -> None:
            for host, daemon in fleet.items():
                daemon.count(signals=50, errors=series[second] if host == HOST and second < len(series) else 0)

        return last(step, gate_spec=spec(metrics=ERRORS))

    assert beside_none(0, 1, 2, 1, 0, 0).ruling is Ruling.INCONCLUSIVE
    assert beside_none(0, 1, 2, 1, 0, 0, 1).why == ("error_rate: it is worse than the control",)


def test_one_bad_sample_is_no_verdict() -> None:
    """A threshold on one sample has no error rate: half of the first second's few signals were errors, and it is still open."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for host, daemon in fleet.items():
            daemon.count(signals=2 if second == 0 else 50, errors=host == HOST if second == 0 else second % 5 == 0)

    assert last(step).ruling is Ruling.PASS


def test_flagger_892_a_metric_that_does_not_exist_does_not_pass() -> None:
    """flagger#892: what nobody exports was taken for fine. Here no host can be judged, and that is held when it lasts."""

    def change(second: int, outcomes: dict[str, Outcome[Sample]]) -> None:
        for host in outcomes:
            outcomes[host] = Failed(Unreachable("it does not export tradeops_signals_total"))

    verdict = last(healthy, change=change)
    assert (verdict.ruling, verdict.why[0]) == (Ruling.INCONCLUSIVE, "no host can be judged: it does not export tradeops_signals_total")


def test_flagger_1011_traffic_that_stops_does_not_advance() -> None:
    """flagger#1011: no traffic any more in mid-analysis, and it went on to the next step."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for host, daemon in fleet.items():
            daemon.count(signals=50 if second < 80 or host in CONTROL else 0, errors=second % 5 == 0 and (second < 80 or host in CONTROL))

    verdict = last(step)
    assert verdict.ruling is Ruling.INCONCLUSIVE
    assert verdict.why[0].startswith("the canary has taken nothing in for")


def test_argo_4479_measurements_that_err_do_not_succeed() -> None:
    """argo-rollouts#4479: every measurement was an error and the run was "Successful"."""

    def change(second: int, outcomes: dict[str, Outcome[Sample]]) -> None:
        if second % 2:
            outcomes[HOST] = Failed(Unreachable("the query timed out"))
        if second >= 60:
            outcomes[HOST] = Failed(Unreachable("the query timed out"))

    verdict = last(healthy, change=change)
    assert (verdict.ruling, verdict.cause) == (Ruling.FAIL, Cause.DATA)
    assert verdict.problems == {HOST: "the query timed out"}


@pytest.mark.parametrize("metric", ["order_placement_latency", "reject_ratio"])
def test_kayenta_a_group_without_data_does_not_score_100(metric: str) -> None:
    """One metric has numbers, another none on the canary: it is inconclusive and holds all."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for host, daemon in fleet.items():
            daemon.count(signals=50, orders=0 if host == HOST else 50)

    metrics = {
        "order_placement_latency": {"kind": "latency", "histogram": LATENCY, "limit": "500ms"},
        "reject_ratio": {"kind": "ratio", "events": PREFIX + Counter.ORDERS_REJECTED, "per": PREFIX + Counter.ORDERS_SENT, "limit": "5%"},
        "error_rate": {"kind": "ratio", "events": PREFIX + Counter.ERRORS, "limit": "1%"},
    }
    verdict = last(step, gate_spec=spec(metrics=metrics))
    assert verdict.ruling is Ruling.INCONCLUSIVE
    assert metric in {one.name for one in verdict.metrics if one.ruling is Ruling.INCONCLUSIVE}


def test_errors_only_on_the_canary_are_seen() -> None:
    """Two in a thousand, far under the absolute limit; the control has none."""  # D11
    assert last(errors(2, 0)).why == ("error_rate: it is worse than the control",)
