"""The source that a playbook names."""

from __future__ import annotations

from tradeops.base.clock import Clock
from tradeops.fleet.ports import Controls
from tradeops.gates.sources.port import Source
from tradeops.gates.sources.scrape import Scrape
from tradeops.gates.spec import GateSpec, PrometheusSource


def source_of(spec: GateSpec, controls: Controls, clock: Clock) -> Source:
    """The guards' own /metrics, or the Prometheus of the playbook."""
    if isinstance(spec.source, PrometheusSource):
        # httpx takes a moment to import; only who uses it waits for it.
        from tradeops.gates.sources.prometheus import Prometheus

        return Prometheus(spec, spec.source, clock)
    return Scrape(spec, controls, clock)
