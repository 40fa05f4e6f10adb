"""Data first: what cannot be judged is inconclusive at once and a failure when it lasts, and never a pass (D11)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.gaterun import BAKE_S, Change, healthy, last, run, spec
from tests.support.gates import ARMS, CANARY, CONTROL, LATENCY, NEW, OLD, Daemon, daemons, reading
from tradeops.base.errors import Unreachable
from tradeops.contracts.metrics import PREFIX, Counter
from tradeops.fleet.outcome import Done, Failed, Outcome
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Cause, Ruling
from tradeops.gates.samples import Buckets, Sample
from tradeops.gates.verdict import Gate

HOST, OTHER = CANARY[0], CONTROL[3]
SIGNALS = PREFIX + Counter.SIGNALS
ERRORS = {"error_rate": {"kind": "ratio", "events": PREFIX + Counter.ERRORS, "limit": "1%"}}
Spoil = Callable[[int, Sample], Outcome[Sample] | None]


def _silent(second: int, sample: Sample) -> Outcome[Sample] | None:
    return Failed(Unreachable("it did not answer in time", where=sample.host))


def _unread(second: int, sample: Sample) -> Outcome[Sample] | None:
    return None


def _other_release(second: int, sample: Sample) -> Outcome[Sample] | None:
    return Done(replace(sample, release="sha256:third"))


def _stale(second: int, sample: Sample) -> Outcome[Sample] | None:
    return Done(replace(sample, age_s=6.0))


def _frozen(second: int, sample: Sample) -> Outcome[Sample] | None:
    return Done(replace(sample, taken_s=39.0))


def _from_the_past(second: int, sample: Sample) -> Outcome[Sample] | None:
    return Done(replace(sample, taken_s=10.0))


def _backwards(second: int, sample: Sample) -> Outcome[Sample] | None:
    return Done(replace(sample, values={**sample.values, SIGNALS: 1.0}))


def _histogram_backwards(second: int, sample: Sample) -> Outcome[Sample] | None:
    buckets = sample.histograms[LATENCY]
    return Done(replace(sample, histograms={LATENCY: Buckets(buckets.upper, (0.0,) * len(buckets.upper))}))


def befall(outcomes: dict[str, Outcome[Sample]], host: str, spoil: Spoil, second: int) -> None:
    """Spoil what one host said."""
    outcome = outcomes.pop(host)
    assert isinstance(outcome, Done)
    if spoiled := spoil(second, outcome.value):
        outcomes[host] = spoiled


SPOILS: dict[str, tuple[Spoil, str]] = {
    "a scrape that hangs": (_silent, "it did not answer in time"),
    "a host that is not read": (_unread, "it was not read"),
    "another release": (_other_release, "it runs sha256:third, and not sha256:"),
    "a stale sample": (_stale, "its sample is 6.0 s old"),
    "a source that lies with the same old sample": (_frozen, "its sample has been the same for"),
    "a sample older than one before": (_from_the_past, "older than one that was read before"),
    "a counter that goes backwards": (_backwards, "tradeops_signals_total went back without a restart"),
    "a histogram that goes backwards": (_histogram_backwards, f"{LATENCY} went back without a restart"),
}


@pytest.mark.parametrize("host", [HOST, OTHER])
@pytest.mark.parametrize("name", SPOILS)
def test_it_is_inconclusive_at_once_and_fails_when_it_lasts(name: str, host: str) -> None:
    """From second 40 on, on the canary or on one host of the control; the failure names host and time."""  # D11
    spoil, text = SPOILS[name]

    def change(second: int, outcomes: dict[str, Outcome[Sample]]) -> None:
        if second >= 40:
            befall(outcomes, host, spoil, second)

    verdicts = run(healthy, change=change)
    held = verdicts[46]
    assert (held.ruling, held.final) == (Ruling.INCONCLUSIVE, False)
    assert text in held.problems[host]
    assert held.why[0] == f"{host}: {held.problems[host]}"
    failed = verdicts[-1]
    assert (failed.ruling, failed.cause) == (Ruling.FAIL, Cause.DATA)
    assert failed.why[0].startswith(f"{host}: its data cannot be judged for 30 s now")
    assert 70 <= failed.elapsed_s <= 76


@pytest.mark.parametrize("name", SPOILS)
def test_what_passes_over_costs_no_evidence(name: str) -> None:
    """Ten bad seconds in the middle: the next good reading covers the gap, and nothing is judged twice or lost."""
    spoil, _ = SPOILS[name]

    def change(second: int, outcomes: dict[str, Outcome[Sample]]) -> None:
        if 40 <= second < 50:
            befall(outcomes, HOST, spoil, second)

    verdict = last(healthy, change=change)
    assert verdict.ruling is Ruling.PASS
    assert verdict.exposure == 50 * BAKE_S
    assert verdict.elapsed_s <= BAKE_S + 2


def test_a_host_that_is_not_in_the_plan_is_a_problem() -> None:
    """The host set is the plan's, and no other."""

    def change(second: int, outcomes: dict[str, Outcome[Sample]]) -> None:
        outcomes["host-9"] = Done(Daemon("host-9", OLD).sample(float(second)))

    verdict = last(healthy, change=change)
    assert verdict.cause is Cause.DATA
    assert verdict.problems == {"host-9": "it is not in the plan"}


def test_the_control_group_gone_never_passes() -> None:
    """Not even where the canary alone looks well."""  # D11

    def change(second: int, outcomes: dict[str, Outcome[Sample]]) -> None:
        for host in CONTROL:
            del outcomes[host]

    verdict = last(healthy, change=change)
    assert (verdict.ruling, verdict.cause) == (Ruling.FAIL, Cause.DATA)
    assert len(verdict.why) == len(CONTROL)


def test_a_source_that_is_down_holds_and_says_nothing_against_the_canary() -> None:
    """No host of either arm can be judged: held once that has lasted; a source that comes back in time costs nothing."""  # D11

    def down(until: int) -> Change:
        def change(second: int, outcomes: dict[str, Outcome[Sample]]) -> None:
            for host in list(outcomes) if 40 <= second < until else ():
                befall(outcomes, host, _silent, second)

        return change

    verdicts = run(healthy, change=down(1000))
    assert not verdicts[69].final
    assert (verdicts[-1].ruling, verdicts[-1].cause, verdicts[-1].elapsed_s) == (Ruling.INCONCLUSIVE, Cause.NONE, 70)
    assert verdicts[-1].why[0] == "no host can be judged: it did not answer in time"
    assert last(healthy, change=down(60)).ruling is Ruling.PASS
    alone = last(healthy, arms=Arms({HOST: NEW}), change=down(1000))
    assert (alone.ruling, alone.cause) == (Ruling.FAIL, Cause.DATA), "with nobody beside it, who is gone is the canary"


def test_a_restart_of_a_control_is_handled() -> None:
    """Counters begin anew, the warm-up is left out on both arms, and the gate passes; it is no lower for it."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        healthy(second, fleet)
        if second == 40:
            fleet[OTHER].restart()

    verdicts = run(step, gate_spec=spec(warm_up="5s"))
    assert verdicts[-1].ruling is Ruling.PASS
    assert "a process is in its warm-up" in verdicts[42].why
    assert verdicts[-1].elapsed_s == pytest.approx(BAKE_S + 5 + 6, abs=2)


def test_a_canary_that_does_not_stay_up_fails() -> None:
    """A restart that nobody asked for; one more than is allowed."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        healthy(second, fleet)
        if second in (40, 60):
            fleet[HOST].restart()

    verdict = last(step)
    assert (verdict.ruling, verdict.cause) == (Ruling.FAIL, Cause.RESTART)
    assert verdict.why == ("host-1: its process has restarted 1 times",)
    assert last(step, gate_spec=spec(restarts_max=1)).elapsed_s == 61
    assert last(step, gate_spec=spec(restarts_max=2)).ruling is Ruling.PASS


def test_a_canary_that_reconnects_with_the_old_release_fails() -> None:
    """As after an update that was taken for done."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        healthy(second, fleet)
        if second == 40:
            fleet[HOST].restart()
            fleet[HOST].release = OLD

    verdict = last(step, gate_spec=spec(restarts_max=9))
    assert verdict.cause is Cause.DATA
    assert verdict.problems == {HOST: f"it runs {OLD}, and not {NEW}"}


def test_histograms_that_do_not_fit_together_are_never_a_pass() -> None:
    """Other bucket edges within an arm close no round; between the arms they compare nothing."""

    def edges(hosts: list[str]) -> Callable[[int, dict[str, Outcome[Sample]]], None]:
        def change(second: int, outcomes: dict[str, Outcome[Sample]]) -> None:
            for host in hosts:
                outcome = outcomes[host]
                assert isinstance(outcome, Done)
                total = outcome.value.histograms[LATENCY].total
                outcomes[host] = Done(replace(outcome.value, histograms={LATENCY: Buckets((0.5, math.inf), (total, total))}))

        return change

    within = last(healthy, change=edges([OTHER]))
    assert within.cause is Cause.DATA
    assert within.problems[HOST] == "its histograms have other bucket edges than those beside them"
    between = last(healthy, change=edges([HOST]))
    assert between.ruling is Ruling.INCONCLUSIVE
    assert "the histograms of canary and control have other bucket edges" in between.metrics[2].text


def test_a_slow_source_is_judged_by_its_own_pace() -> None:
    """A Prometheus that scrapes every fifteen seconds, each host at another time: a round when all have a newer sample."""

    def change(second: int, outcomes: dict[str, Outcome[Sample]]) -> None:
        for at, (host, outcome) in enumerate(list(outcomes.items())):
            assert isinstance(outcome, Done)
            scraped = second - (second + at) % 15
            kept.setdefault((host, scraped), outcome.value)
            outcomes[host] = Done(replace(kept[host, scraped], taken_s=float(scraped), age_s=float(second - scraped)))

    kept: dict[tuple[str, int], Sample] = {}
    verdict = last(healthy, gate_spec=spec(fresh="20s"), change=change, bake_s=300.0)
    assert verdict.ruling is Ruling.PASS
    assert verdict.rounds == pytest.approx(300 / 15, abs=2)


def test_traffic_that_stops_in_mid_bake_is_held() -> None:
    """What was shown in the first half is not promoted in the second."""  # D10

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        if second < 80:
            healthy(second, fleet)

    verdict = last(step)
    assert (verdict.ruling, verdict.cause) == (Ruling.INCONCLUSIVE, Cause.NONE)
    assert verdict.why[0] == "the canary has taken nothing in for 160 s"


FAULTS = st.sampled_from([_silent, _unread, _other_release, _stale, _backwards, _frozen])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), FAULTS), min_size=4, max_size=20), st.integers(1, 200))
def test_no_sequence_with_missing_canary_data_ever_passes(faults: list[Spoil | None], signals: int) -> None:
    """PASS is given on a good reading of the canary alone, and at least one before it: whatever came before, between and after."""  # D11
    fleet, gate = daemons(), Gate(spec(metrics=ERRORS), ARMS, bake_s=2.0, exposure_min=1, now_s=0.0)
    good = 0
    for second, fault in enumerate(faults):
        outcomes = reading(fleet, float(second))
        if fault:
            befall(outcomes, HOST, fault, second)
        verdict = gate.feed(outcomes, float(second), outlook=False)
        good += HOST not in verdict.problems
        if verdict.final:
            assert verdict.ruling is not Ruling.PASS or (HOST not in verdict.problems and good >= 2)
            return
        for daemon in fleet.values():
            daemon.count(signals=signals * 100)
