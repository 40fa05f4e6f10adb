"""A gate as a person writes it: strict, with units, and defaults by the names that hosts export."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradeops.base.config import parse_yaml
from tradeops.base.errors import ConfigError
from tradeops.contracts.metrics import PREFIX, Counter, Gauge, Latency
from tradeops.gates.spec import GateSpec, LatencyMetric, LimitMetric, PrometheusSource, RatioMetric, ScrapeSource

WHOLE = """
alpha: 0.5%
confidence: 99%
every: 2s
warm_up: 10s
fresh: 20s
persist: 1m
quiet: 2m
patience: 30m
restarts_max: 1
start: process_start_time_seconds
age: null
active: null
undecided: hold
exposure: http_requests_total
source: {kind: prometheus, url: "http://prometheus:9090/prom", match: 'job="shop"', host: instance, release: version}
metrics:
  errors: {kind: ratio, events: http_errors_total, per: http_requests_total, limit: 1%, margin: 2.5, rare: 0.1%}
  latency: {kind: latency, histogram: http_request_duration_seconds, quantile: 99%, limit: 300ms, margin: 3.0}
  rate: {kind: rate, of: http_calls_total, per: http_requests_total, factor: 2.0}
  memory: {kind: level, gauge: process_resident_memory_bytes, factor: 2.0, floor: 1000.0, sustained: 30s}
  depth: {kind: limit, gauge: queue_depth, at_most: 100.0}
"""


def parse(text: str) -> GateSpec:
    return parse_yaml(text, GateSpec, source="gate.yml")


def test_everything_can_be_written() -> None:
    """Durations and shares with their units; a service that is not ours over Prometheus."""
    spec = parse(WHOLE)
    assert (spec.alpha, spec.confidence, spec.every, spec.patience) == (0.005, 0.99, 2.0, 1800.0)
    assert spec.source == PrometheusSource(
        kind="prometheus", url="http://prometheus:9090/prom", match='job="shop"', host="instance", release="version"
    )
    assert spec.counters() == {"http_errors_total", "http_requests_total", "http_calls_total"}
    assert spec.gauges() == {"process_start_time_seconds", "process_resident_memory_bytes", "queue_depth"}
    assert spec.histograms() == {"http_request_duration_seconds"}


def test_the_defaults_are_those_of_a_trading_daemon() -> None:
    """Error rate up to 1 %, order placement p99 up to 500 ms, rejects, rates, money; over signals, never over orders sent."""  # D11
    spec = GateSpec()
    assert spec.source == ScrapeSource(kind="scrape")
    errors, latency = spec.metrics["error_rate"], spec.metrics["order_placement_latency"]
    assert isinstance(errors, RatioMetric) and isinstance(latency, LatencyMetric)
    assert (errors.per, errors.limit) == (PREFIX + Counter.SIGNALS, 0.01)
    assert (latency.histogram, latency.quantile, latency.limit) == (PREFIX + Latency.ORDER_PLACEMENT, 0.99, 0.5)
    assert {metric.gauge for metric in spec.metrics.values() if isinstance(metric, LimitMetric)} == {
        PREFIX + Gauge.PNL,
        PREFIX + Gauge.DRAWDOWN,
    }


def test_the_page_shows_the_defaults() -> None:
    """What a reader copies from runbooks/gates.md is what they have without it."""
    page = (Path(__file__).parents[3] / "runbooks" / "gates.md").read_text()
    assert parse(page.split("```yaml\n")[1].split("```")[0]) == GateSpec()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("alpha: 0.01", "write a number and a percent sign"),
        ("alpha: 0%", "not a share between"),
        ("confidence: 100%", "not a share between"),
        ("every: 5", "not a duration"),
        ("colour: blue", "colour"),
        ("metrics: {}", "needs a ratio or a latency"),
        ("metrics: {x: {kind: limit, gauge: g, at_most: 1.0}}", "needs a ratio or a latency"),
        ("metrics: {x: {kind: ratio, events: e, limit: 1%, margin: 1.0}}", "margin"),
        ("metrics: {x: {kind: limit, gauge: g}}", "at_most or at_least"),
        ("metrics: {x: {kind: limit, gauge: g, at_most: .nan}}", "at_most"),
        ("metrics: {x: {kind: guess, gauge: g}}", "kind"),
        ("source: {kind: prometheus, url: 'file:///etc'}", "url"),
        ("source: {kind: prometheus, url: 'http://p', match: 'x} or {y'}", "match"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, what: str) -> None:
    """Unknown keys, bare numbers, limits that are none."""
    with pytest.raises(ConfigError, match=r"gate.yml:1") as caught:
        parse(text)
    assert what in str(caught.value)
