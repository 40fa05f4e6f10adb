"""Judging gauges: hard limits, and levels beside the control's. They decide without statistics, on what each host shows now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Evidence, Line, Ruling
from tradeops.gates.rounds import Round
from tradeops.gates.samples import Sample
from tradeops.gates.spec import LevelMetric, LimitMetric


def beyond(metric: LimitMetric, host: str, value: float) -> str:
    """Which side of its hard limit the host's gauge has left; empty when none."""
    if metric.at_most is not None and value > metric.at_most:
        return f"{host}: {value:,.6g} is over the hard limit of {metric.at_most:,.6g}"
    if metric.at_least is not None and value < metric.at_least:
        return f"{host}: {value:,.6g} is under the hard limit of {metric.at_least:,.6g}"
    return ""


@dataclass
class Limit:
    """Measure of a hard limit on a gauge of each canary host: one sample beyond it fails, for good."""

    name: str
    metric: LimitMetric
    arms: Arms
    _now: dict[str, float] = field(default_factory=dict)
    _control: list[float] = field(default_factory=list)
    _beyond: str = ""

    def see(self, samples: Mapping[str, Sample], now_s: float) -> None:
        """See measures.Measure."""
        self._now = {host: samples[host].values[self.metric.gauge] for host in self.arms.canary if host in samples}
        self._control = [samples[host].values[self.metric.gauge] for host in self.arms.control if host in samples]
        for host, value in self._now.items():
            self._beyond = self._beyond or beyond(self.metric, host, value)

    def add(self, closed: Round) -> Line | None:
        """See measures.Measure."""
        worst = min if self.metric.at_most is None else max
        return worst(self._now.values()), median(self._control) if self._control else None

    def judge(self, *, outlook: bool) -> Evidence:
        """See measures.Measure."""
        if self._beyond:
            return Evidence(self.name, Ruling.FAIL, self._beyond)
        if len(self._now) < len(self.arms.canary):
            return Evidence(self.name, Ruling.INCONCLUSIVE, "not every canary host shows it now")
        return Evidence(self.name, Ruling.PASS, "within its hard limit on every canary host")


@dataclass
class Level:
    """Measure of a gauge of each canary host beside the control's median."""

    name: str
    metric: LevelMetric
    arms: Arms
    _now: dict[str, float] = field(default_factory=dict)
    _median: float | None = None
    _over_since_s: dict[str, float] = field(default_factory=dict)
    _lasting: str = ""

    def see(self, samples: Mapping[str, Sample], now_s: float) -> None:
        """See measures.Measure."""
        gauge = self.metric.gauge
        self._now = {host: samples[host].values[gauge] for host in self.arms.canary if host in samples}
        whole = all(host in samples for host in self.arms.control)
        self._median = median(samples[host].values[gauge] for host in self.arms.control) if whole else None
        if self._median is None:
            return
        allowed = max(self.metric.floor, self.metric.factor * self._median)
        over = {host: value for host, value in self._now.items() if value > allowed}
        self._over_since_s = {host: self._over_since_s.get(host, now_s) for host in over}
        for host, value in over.items():
            lasted_s = now_s - self._over_since_s[host]
            if lasted_s >= self.metric.sustained and not self._lasting:
                self._lasting = (
                    f"{host}: {value:,.6g} for {lasted_s:g} s, over the {allowed:,.6g} that the control's {self._median:,.6g} allow"
                )

    def add(self, closed: Round) -> Line | None:
        """See measures.Measure."""
        return max(self._now.values()), self._median

    def judge(self, *, outlook: bool) -> Evidence:
        """See measures.Measure."""
        if self._lasting:
            return Evidence(self.name, Ruling.FAIL, self._lasting)
        if self._median is None or len(self._now) < len(self.arms.canary):
            return Evidence(self.name, Ruling.INCONCLUSIVE, "not every host shows it now")
        if self._over_since_s:
            return Evidence(self.name, Ruling.INCONCLUSIVE, f"over what the control's allow on {', '.join(sorted(self._over_since_s))}")
        return Evidence(self.name, Ruling.PASS, f"at most {self.metric.factor:g} times the control's, or under {self.metric.floor:,.6g}")
