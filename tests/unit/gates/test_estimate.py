"""What a plan says of its gate: how long, and whether it can decide at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.support.gaterun import healthy, spec
from tests.support.gates import HOSTS, LATENCY, OLD, Daemon, reading
from tradeops.base.errors import PreflightFailed, TradeopsError, Unreachable, UsageError
from tradeops.contracts.metrics import PREFIX, Counter, Gauge
from tradeops.deploy.playbook import Shadow
from tradeops.fleet.outcome import Done, Failed
from tradeops.gates.estimate import Asked, Estimate, estimate, of_live
from tradeops.gates.past import Past
from tradeops.gates.samples import BadSample, NotExported
from tradeops.gates.spec import GateSpec

DECISIONS = PREFIX + Counter.DECISIONS
ERRORS = {"kind": "ratio", "events": PREFIX + Counter.ERRORS, "limit": "1%"}


def observed(gate_spec: GateSpec, *, signals: float = 50, seconds: int = 60) -> Past:
    """A minute of eight hosts under their old release; errors by `healthy`, scaled."""
    fleet: Mapping[str, Daemon] = {host: Daemon(host, OLD) for host in HOSTS}
    past = Past(gate_spec, dict.fromkeys(HOSTS, OLD))
    for second in range(seconds + 1):
        past.feed(reading(fleet, float(second)), float(second))
        if signals == 50:
            healthy(second, fleet)
        else:
            for daemon in fleet.values():
                daemon.count(signals=signals, errors=signals / 500)
    return past


def of(
    gate_spec: GateSpec,
    past: Past,
    *,
    share: float = 1 / 8,
    beside: float | None = None,
    bake_s: float = 300.0,
    exposure_min: int = 300,
    canary: Sequence[str] = HOSTS[:1],
) -> Estimate:
    return estimate(gate_spec, past, Asked(canary, share, 1 - share if beside is None else beside, bake_s, exposure_min))


def test_a_gate_that_decides_says_when() -> None:
    """The bake, or the slowest metric; each with what it needs."""
    found = of(spec(), observed(spec()))
    assert found.seconds == 300
    assert found.problems == ()
    times = {one.name: one.seconds for one in found.metrics}
    assert set(times) == {"error_rate", "reject_ratio", "order_placement_latency", "order_placement_latency_beside_control", "order_rate"}
    assert times["reject_ratio"] == pytest.approx(3866 / 50, rel=0.02)
    assert times["order_placement_latency"] == pytest.approx(386 / 50, rel=0.02)
    assert found.metrics[1].text == "3,858 more in about 77 s, at a rate of 0"


def test_how_long_a_little_of_the_flow_takes() -> None:
    """One per cent of the flow and a margin of two: some 1,700 errors in all; a p99 in five minutes wants a hundred orders a second."""
    gate_spec = spec(patience="30d", metrics={"error_rate": {**ERRORS, "margin": 2.0}})
    (found,) = of(gate_spec, observed(gate_spec, signals=500), share=0.01).metrics
    assert found.needed is not None
    assert found.needed * 0.002 / 0.01 == pytest.approx(1700, rel=0.15)
    gate_spec = spec(metrics={"latency": {"kind": "latency", "histogram": LATENCY, "limit": "500ms"}})
    found = of(gate_spec, observed(gate_spec, signals=120 / 8), share=0.01).metrics[0]
    assert found.seconds == pytest.approx(300, rel=0.1)


def test_a_last_wave_is_reckoned_beside_those_that_passed() -> None:
    """Half of the flow beside half; an eighth beside seven that take a tenth of theirs needs far more of its own."""
    needed = {one.name: one.needed for one in of(spec(), observed(spec()), share=0.5).metrics}
    assert needed["reject_ratio"] == pytest.approx(3866, rel=0.01)
    ratio = needed["error_rate"]
    capped = {one.name: one.needed for one in of(spec(), observed(spec()), share=1 / 8, beside=0.7 / 8).metrics}["error_rate"]
    assert ratio is not None and capped is not None and capped > 1.1 * ratio


def test_without_a_control_group_only_limits_are_reckoned() -> None:
    """As they are judged."""
    found = of(spec(), observed(spec()), share=1.0, beside=0.0)
    assert {one.name for one in found.metrics} == {"error_rate", "reject_ratio", "order_placement_latency"}


def test_a_metric_that_no_host_exports_is_an_error() -> None:
    """flagger#892, before anything is touched."""
    past = Past(spec(), dict.fromkeys(HOSTS, OLD))
    past.feed({host: Failed(NotExported("it does not export tradeops_nonsense_total")) for host in HOSTS}, 0.0)
    with pytest.raises(UsageError, match=r"cannot be judged: host-1, host-2, .*: it does not export tradeops_nonsense_total$") as caught:
        of(spec(), past)
    assert caught.value.holds == "nothing was touched"


@pytest.mark.parametrize(
    ("failed", "hosts", "said"),
    [
        (Unreachable("Prometheus does not answer: refused"), HOSTS, "Prometheus does not answer: refused"),
        (BadSample("its series do not say which release they are of"), HOSTS[2:3], "host-3: its series do not say"),
        (None, HOSTS[2:3], "host-3: its process has told nothing for 13.8 s: it hangs, or is gone"),
    ],
)
def test_what_cannot_be_read_now_is_no_mistake_in_the_playbook(failed: TradeopsError | None, hosts: Sequence[str], said: str) -> None:
    """A trader that hangs, a Prometheus that is down: the hosts are not ready, whatever the playbook says of gates that do not decide."""
    gate_spec = spec(undecided="hold")
    past = Past(gate_spec, dict.fromkeys(HOSTS, OLD))
    frozen = {host: Daemon(host, OLD).sample(0.0, age_s=13.8) for host in hosts}
    past.feed(
        reading({host: Daemon(host, OLD) for host in HOSTS}, 0.0)
        | {host: Done(frozen[host]) if failed is None else Failed(failed) for host in hosts},
        0.0,
    )
    with pytest.raises(PreflightFailed, match="cannot be read now") as caught:
        of(gate_spec, past)
    assert said in caught.value.what
    assert caught.value.where == ", ".join(hosts)


def test_one_reading_is_no_rate() -> None:
    """Two at least."""
    with pytest.raises(UsageError, match="not read twice"):
        of(spec(), observed(spec(), seconds=0))


@pytest.mark.parametrize(
    ("changes", "signals", "what"),
    [
        ({}, 0, "nothing is taken in now: tradeops_signals_total does not rise"),
        ({}, 0, "error_rate: nothing that it counts happens now"),
        ({"metrics": {"error_rate": ERRORS}}, 0.5, "has 420 s with all its patience"),
        ({}, 0.5, "order_placement_latency_beside_control: the control has observed 240, too few for its own quantile"),
        ({"metrics": {"error_rate": {**ERRORS, "limit": "0.1%"}}}, 50, "error_rate: the fleet's own rate of 0.004 would not pass"),
        (
            {"metrics": {"p99": {"kind": "latency", "histogram": LATENCY, "limit": "9s"}}},
            50,
            "p99: the histogram has no bucket edge at or above 9 s",
        ),
    ],
)
def test_a_gate_that_can_never_decide_is_an_error_or_a_choice(changes: dict[str, object], signals: float, what: str) -> None:
    """No traffic, too little of it, a limit that the fleet itself breaks, a histogram too short: refused, or held aloud."""
    with pytest.raises(UsageError, match="the gate will not decide") as caught:
        of(spec(**changes), observed(spec(**changes), signals=signals))
    assert what in caught.value.what
    assert "undecided: hold" in (caught.value.next or "")
    chosen = spec(undecided="hold", **changes)
    found = of(chosen, observed(chosen, signals=signals))
    assert any(what in problem for problem in found.problems)


def beside(**fields: object) -> GateSpec:
    """The gate of standbys that a playbook has by default, otherwise spelt out."""
    return Shadow(gate=Shadow().gate.model_copy(update=fields)).gate


def test_a_standby_is_reckoned_by_the_decisions_of_what_trades() -> None:
    """D10: each of them is one that the standby makes too, and is held against; as much as is asked of it, and what its limits need."""
    live = of_live(beside())
    assert (live.slot, live.exposure) == ("active", DECISIONS)
    assert DECISIONS in live.counters() and PREFIX + Counter.DECISIONS_COMPARED not in live.counters()
    found = of(live, observed(live, signals=1), share=1.0, beside=0.0, exposure_min=3000)
    assert found.seconds == pytest.approx(3000 / 8, rel=0.05)
    assert found.problems == ()
    assert {one.name: one.needed is not None for one in found.metrics} == {"decisions_different": True, "error_rate": True}


def test_a_standby_that_would_decide_nothing_is_a_mistake_in_the_plan() -> None:
    """No data is never a pass: known before anything is touched."""
    live = of_live(beside())
    with pytest.raises(UsageError, match=f"nothing is taken in now: {DECISIONS} does not rise"):
        of(live, observed(live, signals=0), share=1.0, beside=0.0)
    with pytest.raises(UsageError, match="it needs 12,500 s, and has 900 s"):
        of(live, observed(live, signals=1), share=1.0, beside=0.0, exposure_min=100_000)


@pytest.mark.parametrize(
    ("limit", "said"), [({"at_least": 1e9}, "pnl: host-1: 0 is under the hard limit of 1e+09"), ({"at_most": -1.0}, "over")]
)
def test_a_hard_limit_that_is_broken_before_anything_changes_is_a_mistake_in_the_plan(limit: dict[str, float], said: str) -> None:
    """Its first sample would fail the gate and reject a release for what the fleet did before it; asked of the canary's hosts alone."""
    metrics = {"error_rate": ERRORS, "pnl": {"kind": "limit", "gauge": PREFIX + Gauge.PNL, **limit}}
    refusing, holding = spec(metrics=metrics), spec(metrics=metrics, undecided="hold")
    past = observed(refusing)
    with pytest.raises(UsageError, match="will not decide") as caught:
        of(refusing, past)
    assert said in caught.value.what and "the gate would fail" in caught.value.what
    assert any(said in problem for problem in of(holding, past).problems)
    assert of(refusing, past, canary=()).problems == ()
