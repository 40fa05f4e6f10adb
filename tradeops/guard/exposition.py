"""GET /metrics: Prometheus text of what the trader's vitals say, served by its neighbour, so that a hung trader cannot silence it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tradeops.base.clock import NS_PER_MS, NS_PER_S
from tradeops.contracts.metrics import IDENTITY_LABELS, PREFIX, Counter, Gauge, help_of
from tradeops.contracts.status import Histogram, Status, Vitals
from tradeops.contracts.units import UNIT

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(status: Status) -> str:
    """The text. Without vitals only what the guard knows by itself is there: a missing series is no zero."""
    return "\n".join((*_lines(status), ""))


def _lines(status: Status) -> Iterator[str]:
    """Every series with its type once, and a line per slot that has it."""
    slots = {_labels(status.host, status.vitals): status.vitals}
    gauges = {_labels(status.host, status.vitals): _gauges(status)}
    if beside := status.standby:
        slots[_labels(status.host, beside)] = beside
        gauges[_labels(status.host, beside)] = _own_gauges(beside, status.standby_age_ms) | {Gauge.TRADING: 0.0}
    vitals = {labels: one for labels, one in slots.items() if one is not None}
    yield from _plain(gauges, "gauge")
    yield from _plain({labels: _counters(one) for labels, one in vitals.items()}, "counter")
    for name in sorted({name for one in vitals.values() for name in one.histograms}):
        yield from _head(name, "histogram")
        for labels, one in vitals.items():
            if name in one.histograms:
                yield from _histogram(PREFIX + name, one.histograms[name], labels)


def _labels(host: str, vitals: Vitals | None) -> str:
    values = (host, vitals.identity.release, vitals.identity.slot) if vitals else (host, "", "")
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(IDENTITY_LABELS, values, strict=True))


def _gauges(status: Status) -> dict[str, float]:
    """Of the active slot; what works is the drop copy's word."""
    gauges = _own_gauges(status.vitals, status.vitals_age_ms) | {Gauge.TRADING: float(status.trading)}
    return gauges if status.working is None else gauges | {Gauge.WORKING_ORDERS: float(status.working)}


def _own_gauges(vitals: Vitals | None, age_ms: float | None) -> dict[str, float]:
    gauges: dict[str, float] = dict(vitals.gauges) if vitals else {}
    if vitals is not None and age_ms is not None:
        gauges[Gauge.VITALS_AGE_S] = age_ms / 1000
        gauges[Gauge.STARTED_AT_S] = vitals.identity.started_wall_ns / NS_PER_S
        if vitals.feed_age_ns:  # as old as it was said to be, and as what says so
            gauges[Gauge.FEED_AGE_S] = (max(vitals.feed_age_ns.values()) / NS_PER_MS + age_ms) / 1000
    return gauges


def _counters(vitals: Vitals) -> dict[str, float]:
    """Money in whole units of the currency."""
    return {name: value / UNIT if name == Counter.ORDER_NOTIONAL else value for name, value in vitals.counters.items()}


def _head(name: str, kind: str) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {help_of(name)}"
    yield f"# TYPE {PREFIX}{name} {kind}"


def _plain(series: Mapping[str, Mapping[str, float]], kind: str) -> Iterator[str]:
    """series: labels -> name -> value."""
    for name in sorted({name for values in series.values() for name in values}):
        yield from _head(name, kind)
        yield from (f"{PREFIX}{name}{{{labels}}} {_number(values[name])}" for labels, values in series.items() if name in values)


def _histogram(name: str, histogram: Histogram, labels: str) -> Iterator[str]:
    total = 0
    for upper_s, count in zip((*histogram.upper_s, None), histogram.counts, strict=False):
        total += count
        yield f'{name}_bucket{{{labels},le="{"+Inf" if upper_s is None else _number(upper_s)}"}} {total}'
    yield f"{name}_sum{{{labels}}} {_number(histogram.sum_s)}"
    yield f"{name}_count{{{labels}}} {total}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1 << 53 else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
