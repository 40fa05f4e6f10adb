"""Before a run: how long will its gate take at the current rate, and can it decide at all? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import msgspec

from tradeops.base.errors import PreflightFailed, UsageError
from tradeops.contracts.metrics import PREFIX, Counter
from tradeops.gates.counts import Demand, Seen, exposure_needed
from tradeops.gates.levels import beyond
from tradeops.gates.measures import count_of, demands
from tradeops.gates.past import Past
from tradeops.gates.rounds import Delta
from tradeops.gates.spec import GateSpec, LimitMetric, Metric, RateMetric, RatioMetric

_OF_LIVE = {PREFIX + Counter.DECISIONS_COMPARED: PREFIX + Counter.DECISIONS}
"""What tells, of the slot that trades, how often a standby beside it will be held against it."""


class Forecast(msgspec.Struct, frozen=True):
    """One judgement. needed: exposure of the canary until PASS, if it does as the fleet does now.  seconds: at the current rate.

    None: it will not decide; `text` says why.
    """

    name: str
    text: str
    needed: float | None = None
    seconds: float | None = None


class Estimate(msgspec.Struct, frozen=True):
    """seconds: until a verdict at the current rate; None: there will be none.  problems: why the gate will be held."""

    seconds: float | None
    metrics: tuple[Forecast, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What a gate is asked to decide. canary: hosts that will be it; none where it runs beside what trades.  share: of the fleet's
    exposure that it will have.  beside: that the control group will have; 0 where there is none.
    """

    canary: Sequence[str]
    share: float
    beside: float
    bake_s: float
    exposure_min: int


def estimate(spec: GateSpec, past: Past, asked: Asked) -> Estimate:
    """past: of the whole fleet as it runs now.

    Raises UsageError when a host does not export what the gate asks for, and, unless the playbook says `undecided: hold`, when
    the gate will not decide in the bake's time and the gate's patience, or would fail what the fleet does now; PreflightFailed
    when hosts cannot be read now.
    """
    _refuse_unread(past)
    if not past.rounds:
        raise UsageError("the fleet was not read twice: the gate's time cannot be reckoned", holds="nothing was touched")
    seconds = past.rounds[-1].end_s - past.rounds[0].start_s
    total = reduce(_plus, [closed.canary for closed in past.rounds])
    forecasts = tuple(_forecasts(spec, past, total, seconds, share=asked.share, beside=asked.beside))
    bake_s, taken_s = asked.bake_s, asked.share * total.values[spec.exposure] / seconds
    waits = [bake_s, asked.exposure_min / taken_s if taken_s else None, *(one.seconds for one in forecasts)]
    problems = [f"{one.name}: {one.text}" for one in forecasts if one.seconds is None]
    problems += _beyond(spec, past, asked.canary)
    if not taken_s:
        problems.insert(0, f"nothing is taken in now: {spec.exposure} does not rise")
    known = [wait for wait in waits if wait is not None]
    if len(known) == len(waits) and max(known) > bake_s + spec.patience:
        problems.append(f"it needs {max(known):,.0f} s, and has {bake_s + spec.patience:,.0f} s with all its patience")
    if problems and spec.undecided == "refuse":
        raise UsageError(
            "the gate will not decide: " + "; ".join(problems),
            holds="nothing was touched",
            next="lengthen the bake, give the canary more of the flow, widen a margin or limit, or write `undecided: hold` into the gate",
        )
    return Estimate(max(known) if len(known) == len(waits) else None, forecasts, tuple(problems))


def _refuse_unread(past: Past) -> None:
    """Raises UsageError for what is never there, PreflightFailed for what is not there now."""
    if past.missing:
        raise UsageError(
            f"the gate cannot be judged: {_told(past.missing)}",
            holds="nothing was touched",
            next="let the hosts export it, or take the metric out of the playbook's gate",
        )
    if past.problems:
        raise PreflightFailed(
            f"the gate cannot be read now: {_told(past.problems)}",
            where=", ".join(sorted(past.problems)),
            holds="nothing was touched",
            next="`tradeops status` and `tradeops doctor` tell how they are; mend them, or the Prometheus that reads them; then again",
        )


def _told(problems: Mapping[str, str]) -> str:
    """What is wrong, each with its hosts: one server that is down is one problem, of however many hosts."""
    hosts: dict[str, list[str]] = {}
    for host, problem in sorted(problems.items()):
        hosts.setdefault(problem, []).append(host)
    return "; ".join(f"{', '.join(names)}: {problem}" for problem, names in hosts.items())


def _beyond(spec: GateSpec, past: Past, canary: Sequence[str]) -> Iterator[str]:
    """Hard limits that hosts have left before anything is changed: one such sample fails the gate, whatever the release does."""
    for name, metric in spec.metrics.items():
        if isinstance(metric, LimitMetric):
            for host in canary:
                if host in past.samples and (words := beyond(metric, host, past.samples[host].values[metric.gauge])):
                    yield f"{name}: {words} already, and the gate would fail"


def of_live(spec: GateSpec) -> GateSpec:
    """The gate of a standby as it can be reckoned before there is one: of the slot that trades, whose decisions it will make too."""

    def moved(metric: Metric) -> Metric:
        return metric.model_copy(update={"per": _moved(metric.per)}) if isinstance(metric, RatioMetric | RateMetric) else metric

    metrics = {name: moved(metric) for name, metric in spec.metrics.items()}
    return spec.model_copy(update={"slot": "active", "exposure": _moved(spec.exposure), "metrics": metrics})


def _moved(series: str) -> str:
    return _OF_LIVE.get(series, series)


def _forecasts(spec: GateSpec, past: Past, total: Delta, seconds: float, *, share: float, beside: float) -> Iterator[Forecast]:
    for name, metric in spec.metrics.items():
        for own, demand in demands(name, metric, compared=beside > 0).items():
            yield _forecast(own, metric, demand, spec, past, total, seconds / share, share / (share + beside))


def _forecast(
    name: str, metric: Metric, demand: Demand, spec: GateSpec, past: Past, total: Delta, seconds: float, pair_share: float
) -> Forecast:
    """seconds: that the canary takes for what the fleet took in.  pair_share: the canary's of all that is compared."""
    count = count_of(metric, demand, sorted(past.samples))
    count.see(past.samples)
    pair = count.pair(total, None)
    if pair is None:
        return Forecast(name, count.note)
    fleet, _ = pair
    if fleet.rate is None:
        return Forecast(name, "nothing that it counts happens now")
    needed = exposure_needed(demand, 1 - spec.confidence, Seen.of(demand), rate=fleet.rate, share=pair_share)
    if needed is None:
        return Forecast(name, f"the fleet's own rate of {fleet.rate:.3g} would not pass")
    needed_s = needed * seconds / fleet.exposure
    return Forecast(name, f"{needed:,.0f} more in about {needed_s:,.0f} s, at a rate of {fleet.rate:.3g}", needed, needed_s)


def _plus(a: Delta, b: Delta) -> Delta:
    values = {name: value + b.values[name] for name, value in a.values.items()}
    return Delta(values, {name: buckets.combine(b.histograms[name], 1) for name, buckets in a.histograms.items()})
