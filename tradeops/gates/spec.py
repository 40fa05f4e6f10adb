"""A gate as data in a playbook: which metrics decide, by which limits, and what is asked of the data. Strict.

Numbers are ours: no rule or regulation gives them. `runbooks/gates.md` tells how they decide.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter, WithJsonSchema, model_validator

from tradeops.base.config import DurationS, Strict
from tradeops.contracts.metrics import IDENTITY_LABELS, PREFIX, Counter, Gauge, Latency

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def _parse_percent(value: object) -> float:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share < 1:
        raise ValueError(f"{value!r} is not a share between 0 % and 100 %: write a number and a percent sign, as 1% or 0.1%")
    return share


Share = Annotated[
    float,
    BeforeValidator(_parse_percent),
    PlainSerializer(lambda share: f"{share * 100:.10f}%", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{_PERCENT.pattern}$"}),
]
"""Written `1%`, held as 0.01, written back as percent. A bare number is refused."""
WaitS = Annotated[DurationS, Field(le=30 * 86_400)]
"""30 days at most: a run that holds locks and hosts for longer was mistyped."""
Series = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
"""A metric's name as exported, prefix and all."""
Factor = Annotated[float, Field(gt=1, le=50, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class RatioMetric(Strict):
    """Events over exposure: errors or rejects over signals taken in, never over orders sent, which a runaway host would raise.

    limit: the canary's rate must be shown to be under it.  margin: and its ratio to the control's under this;
    rare: or the rate itself under this, where events are too rare for a ratio.
    """

    kind: Literal["ratio"]
    events: Series
    per: Series = PREFIX + Counter.SIGNALS
    limit: Share
    margin: Factor = 3.0
    rare: Share = 0.001


class LatencyMetric(Strict):
    """A quantile by counting requests over a frozen limit: over `limit` absolutely, and over the control's own quantile at
    the start, whose ratio must be shown to be under `margin`. Limits are rounded up to the next bucket edge.
    """

    kind: Literal["latency"]
    histogram: Series
    quantile: Share = 0.99
    limit: WaitS
    margin: Factor = 3.0


class RateMetric(Strict):
    """A counter per exposure against the control's: more than `factor` times as many fails, and so does less than 1/factor."""

    kind: Literal["rate"]
    of: Series
    per: Series = PREFIX + Counter.SIGNALS
    factor: Factor = 2.0


class LevelMetric(Strict):
    """A gauge of each canary host against the control's median: over `factor` times that, and over `floor`, fails when it
    lasts for `sustained`. It decides without statistics.
    """

    kind: Literal["level"]
    gauge: Series
    factor: Factor = 3.0
    floor: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    sustained: WaitS = 5.0


class LimitMetric(Strict):
    """A hard limit on a gauge of each canary host: one sample beyond it fails. It only ever fails; being far from it promotes nothing."""

    kind: Literal["limit"]
    gauge: Series
    at_most: Number | None = None
    at_least: Number | None = None

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise ValueError("a hard limit needs at_most or at_least")
        return self


Metric = Annotated[RatioMetric | LatencyMetric | RateMetric | LevelMetric | LimitMetric, Field(discriminator="kind")]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class ScrapeSource(Strict):
    """Each guard's own /metrics, read directly."""

    kind: Literal["scrape"]


class PrometheusSource(Strict):
    """A Prometheus server. match: label matchers put into every query, as `job="tradeops"`.

    host, release: the labels that name a series' host and release.
    """

    kind: Literal["prometheus"]
    url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")]
    match: Annotated[str, Field(pattern=r"^[^{}]*$")] = ""
    host: Series = IDENTITY_LABELS[0]
    release: Series = IDENTITY_LABELS[1]


Source = Annotated[ScrapeSource | PrometheusSource, Field(discriminator="kind")]


_DEFAULTS: dict[str, dict[str, object]] = {
    "error_rate": {"kind": "ratio", "events": PREFIX + Counter.ERRORS, "limit": "1%"},
    "reject_ratio": {"kind": "ratio", "events": PREFIX + Counter.ORDERS_REJECTED, "limit": "5%"},
    "order_placement_latency": {"kind": "latency", "histogram": PREFIX + Latency.ORDER_PLACEMENT, "limit": "500ms"},
    "order_rate": {"kind": "rate", "of": PREFIX + Counter.ORDERS_SENT},
    "gross_notional": {"kind": "level", "gauge": PREFIX + Gauge.GROSS_NOTIONAL, "floor": 10_000.0},
    "pnl": {"kind": "limit", "gauge": PREFIX + Gauge.PNL, "at_least": -10_000.0},
    "drawdown": {"kind": "limit", "gauge": PREFIX + Gauge.DRAWDOWN, "at_most": 10_000.0},
}


def default_metrics() -> dict[str, Metric]:
    """What a trading daemon is judged by unless the playbook says otherwise. Money is in the account's currency, per host."""
    return TypeAdapter(dict[str, Metric]).validate_python(_DEFAULTS)


class GateSpec(Strict):
    """The gate of every wave of a playbook.

    alpha: chance that a canary no worse than the control ever fails, over all metrics and looks.  confidence: of what
    PASS shows.  every: time between readings.  warm_up: of a process, counted from when it is first seen; not judged.
    fresh: the greatest age of a sample.  persist: bad data for so long is a failure; until then it is inconclusive.
    quiet: without any event of exposure for so long, nothing is promoted.  patience: how long after the bake a verdict
    is waited for.  restarts_max: of a canary's process.  start: the gauge with the process's start, whose change tells a
    restart.  age: the gauge with the age of what the host exports, where there is one.  active: the gauge that is 1 for the
    slot in force, where a host exports two.  slot: which of the two is judged.
    undecided: what a plan does with a gate that will not decide at the current rate: refuse it, or go on and be held.
    """

    alpha: Share = 0.01
    confidence: Share = 0.95
    every: Annotated[WaitS, Field(ge=0.1)] = 1.0
    warm_up: WaitS = 5.0
    fresh: WaitS = 5.0
    persist: WaitS = 30.0
    quiet: WaitS = 30.0
    patience: WaitS = 600.0
    restarts_max: Annotated[int, Field(ge=0)] = 0
    start: Series = PREFIX + Gauge.STARTED_AT_S
    age: Series | None = PREFIX + Gauge.VITALS_AGE_S
    active: Series | None = PREFIX + Gauge.TRADING
    slot: Literal["active", "standby"] = "active"
    exposure: Series = PREFIX + Counter.SIGNALS
    undecided: Literal["refuse", "hold"] = "refuse"
    source: Source = ScrapeSource(kind="scrape")
    metrics: dict[MetricName, Metric] = Field(default_factory=default_metrics)

    @model_validator(mode="after")
    def _something_to_show(self) -> Self:
        if not any(isinstance(metric, RatioMetric | LatencyMetric) for metric in self.metrics.values()):
            raise ValueError("a gate needs a ratio or a latency: nothing else can show that a canary is well")
        if self.slot == "standby" and self.active is None:
            raise ValueError("a standby is told from the slot in force by `active`")
        return self

    def counters(self) -> frozenset[str]:
        """The series that only ever rise within one process."""
        names = {self.exposure}
        for metric in self.metrics.values():
            if isinstance(metric, RatioMetric):
                names |= {metric.events, metric.per}
            elif isinstance(metric, RateMetric):
                names |= {metric.of, metric.per}
        return frozenset(names)

    def gauges(self) -> frozenset[str]:
        """The series that may go both ways, the process's start and the age among them."""
        names = {metric.gauge for metric in self.metrics.values() if isinstance(metric, LevelMetric | LimitMetric)}
        return frozenset(names | {self.start} | ({self.age} if self.age else set()))

    def histograms(self) -> frozenset[str]:
        """The histograms, without their suffixes."""
        return frozenset(metric.histogram for metric in self.metrics.values() if isinstance(metric, LatencyMetric))
