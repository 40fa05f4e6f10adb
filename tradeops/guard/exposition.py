"""GET /metrics: Prometheus text of what the trader's vitals say, served by its neighbour, so that a hung trader cannot silence it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.metrics import IDENTITY_LABELS, PREFIX, Gauge
from tradeops.contracts.status import Histogram, Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(status: Status) -> str:
    """The text. Without vitals only what the guard knows by itself is there: a missing series is no zero."""
    return "\n".join((*_lines(status), ""))


def _lines(status: Status) -> Iterator[str]:
    vitals = status.vitals
    identity = vitals.identity if vitals else None
    values = (status.host, identity.release if identity else "", identity.slot if identity else "")
    labels = ",".join(f'{name}="{_escape(value)}"' for name, value in zip(IDENTITY_LABELS, values, strict=True))
    gauges: dict[str, float] = dict(vitals.gauges) if vitals else {}
    gauges[Gauge.TRADING] = float(status.trading)
    if vitals is not None and status.vitals_age_ms is not None:
        gauges[Gauge.VITALS_AGE_S] = status.vitals_age_ms / 1000
        if vitals.feed_age_ns:
            gauges[Gauge.FEED_AGE_S] = max(vitals.feed_age_ns.values()) / NS_PER_S
    if status.working is not None:
        gauges[Gauge.WORKING_ORDERS] = float(status.working)
    yield from _plain(gauges, "gauge", labels)
    if vitals is not None:
        yield from _plain(vitals.counters, "counter", labels)
        for name, histogram in sorted(vitals.histograms.items()):
            yield from _histogram(PREFIX + name, histogram, labels)


def _plain(series: Mapping[str, float], kind: str, labels: str) -> Iterator[str]:
    for name, value in sorted(series.items()):
        yield f"# TYPE {PREFIX}{name} {kind}"
        yield f"{PREFIX}{name}{{{labels}}} {_number(value)}"


def _histogram(name: str, histogram: Histogram, labels: str) -> Iterator[str]:
    yield f"# TYPE {name} histogram"
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
