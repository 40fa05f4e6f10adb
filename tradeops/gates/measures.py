"""From a metric of the playbook to its running judgement: what is counted, against what, and the ruling now."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

from tradeops.gates.arms import Arms
from tradeops.gates.counts import CountJudge, Demand
from tradeops.gates.evidence import Arm, Evidence, Line, Ruling
from tradeops.gates.levels import Level, Limit
from tradeops.gates.rounds import Delta, Round
from tradeops.gates.samples import Buckets, Sample
from tradeops.gates.spec import GateSpec, LatencyMetric, LevelMetric, LimitMetric, Metric, RateMetric, RatioMetric

BEYOND_QUANTILE = 3.0
"""A control's quantile is frozen once about so many observations lie beyond it: 300 in all for a p99 (299 bound it at 95 %)."""


class Measure(Protocol):
    """One metric of a gate."""

    @property
    def name(self) -> str: ...

    def see(self, samples: Mapping[str, Sample], now_s: float) -> None:
        """Look at the good samples of a reading, whatever is wrong with others."""

    def add(self, closed: Round) -> Line | None:
        """Take in a round; what both arms showed in it. None: the round was left out."""

    def judge(self, *, outlook: bool) -> Evidence:
        """The ruling now. outlook: bounds and what is still needed too, which cost far more than the ruling."""


Pair = tuple[Arm, Arm]
"""What canary and control counted in a round."""


class Count(Protocol):
    """Finds the events and the exposure of both arms. note: what is said beside the numbers."""

    note: str

    def see(self, samples: Mapping[str, Sample]) -> None:
        """Look at the good samples of a reading."""

    def pair(self, canary: Delta, control: Delta | None) -> Pair | None:
        """None: it cannot be told; the note says why."""


@dataclass
class Events:
    """One counter over another."""

    events: str
    per: str
    note: str = ""

    def see(self, samples: Mapping[str, Sample]) -> None:
        """Counters are judged by rounds."""

    def pair(self, canary: Delta, control: Delta | None) -> Pair:
        """See Count."""
        return self._arm(canary), self._arm(control) if control else Arm()

    def _arm(self, delta: Delta) -> Arm:
        return Arm(delta.values[self.events], delta.values[self.per])


@dataclass
class Over:
    """Requests over a limit in seconds, rounded up to a bucket's edge."""

    histogram: str
    limit_s: float | None
    note: str = ""

    def see(self, samples: Mapping[str, Sample]) -> None:
        """The limit is there from the beginning."""

    def pair(self, canary: Delta, control: Delta | None) -> Pair | None:
        """See Count."""
        own, others = canary.histograms[self.histogram], control.histograms[self.histogram] if control else None
        if self.limit_s is None:
            return None
        edge = own.edge(self.limit_s)
        if math.isinf(edge):
            self.note = f"the histogram has no bucket edge at or above {self.limit_s:g} s"
            return None
        if others and others.upper != own.upper:
            self.note = "the histograms of canary and control have other bucket edges"
            return None
        self.note = f"counted over the bucket edge at {edge:g} s" + (f", the next above {self.limit_s:g} s" if edge != self.limit_s else "")
        return Arm(own.over(edge), own.total), Arm(others.over(edge), others.total) if others else Arm()


@dataclass
class OverControls(Over):
    """The same with the control's own quantile as the limit, frozen before anything is compared with it."""

    quantile: float = 0.99
    control: Sequence[str] = ()

    def see(self, samples: Mapping[str, Sample]) -> None:
        """Freeze the limit as soon as the control has observed enough."""
        if self.limit_s is None and all(host in samples for host in self.control):
            self._freeze([samples[host].histograms[self.histogram] for host in self.control])

    def _freeze(self, observed: Sequence[Buckets]) -> None:
        """Take the quantile of `observed`, if that is enough."""
        if not observed or any(buckets.upper != observed[0].upper for buckets in observed):
            return
        together = reduce(lambda a, b: a.combine(b, 1), observed)
        if together.total * (1 - self.quantile) < BEYOND_QUANTILE:
            self.note = f"the control has observed {together.total:g}, too few for its own quantile"
            return
        self.limit_s = together.quantile_edge(self.quantile)
        self.note = ""


@dataclass
class Counted:
    """Measure of events over exposure by a demand."""

    name: str
    count: Count
    judging: CountJudge

    def see(self, samples: Mapping[str, Sample], now_s: float) -> None:
        """See Measure."""
        self.count.see(samples)

    def add(self, closed: Round) -> Line | None:
        """See Measure."""
        pair = self.count.pair(closed.canary, closed.control)
        if pair is None or not self.judging.add(*pair, closed.end_s - closed.start_s):
            return None
        canary, other = pair
        return canary.rate, other.rate

    def judge(self, *, outlook: bool) -> Evidence:
        """See Measure."""
        return self.judging.judge(self.name, note=self.count.note, outlook=outlook)


@dataclass
class NotJudged:
    """Measure of what has nothing to be compared with."""

    name: str

    def see(self, samples: Mapping[str, Sample], now_s: float) -> None:
        """Nothing to see."""

    def add(self, closed: Round) -> Line | None:
        """See Measure."""

    def judge(self, *, outlook: bool) -> Evidence:
        """See Measure."""
        return Evidence(self.name, Ruling.NOT_JUDGED, "there is no control group to compare it with")


def demands(name: str, metric: Metric, *, compared: bool) -> dict[str, Demand]:
    """What is asked of the rates of a metric, by the name of each judgement; none of a gauge, or without a comparison."""
    if isinstance(metric, RatioMetric):
        return {name: Demand(limit=metric.limit, margin=metric.margin, rare=metric.rare) if compared else Demand(limit=metric.limit)}
    if isinstance(metric, LatencyMetric):
        over = 1 - metric.quantile
        relative = {f"{name}_beside_control": Demand(margin=metric.margin, rare=over)} if compared else {}
        return {name: Demand(limit=over), **relative}
    if isinstance(metric, RateMetric) and compared:
        return {name: Demand(band=metric.factor)}
    return {}


def measures(spec: GateSpec, arms: Arms) -> list[Measure]:
    """The metrics of a gate, ready to be fed."""
    compared = bool(arms.control)
    asked = {name: demands(name, metric, compared=compared) for name, metric in spec.metrics.items()}
    ways = sum(demand.ways_to_fail for of_metric in asked.values() for demand in of_metric.values())

    def counted(name: str, demand: Demand, count: Count) -> Measure:
        return Counted(name, count, CountJudge(demand, spec.alpha / ways, 1 - spec.confidence))

    def of(name: str, metric: Metric) -> Iterator[Measure]:
        if isinstance(metric, LimitMetric):
            yield Limit(name, metric, arms)
        elif isinstance(metric, LevelMetric):
            yield Level(name, metric, arms) if arms.control else NotJudged(name)
        elif not asked[name]:
            yield NotJudged(name)
        for own, demand in asked[name].items():
            yield counted(own, demand, count_of(metric, demand, sorted(arms.control)))

    return [measure for name, metric in spec.metrics.items() for measure in of(name, metric)]


def count_of(metric: Metric, demand: Demand, control: Sequence[str]) -> Count:
    """How the events of a demand are counted. control: hosts whose own quantile a limit may be."""
    if isinstance(metric, RatioMetric):
        return Events(metric.events, metric.per)
    if isinstance(metric, RateMetric):
        return Events(metric.of, metric.per)
    assert isinstance(metric, LatencyMetric)
    if demand.limit:
        return Over(metric.histogram, metric.limit)
    return OverControls(metric.histogram, None, quantile=metric.quantile, control=control)
