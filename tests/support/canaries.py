"""Playbooks with short bakes for real hosts, what their gates left as evidence, and a Prometheus that scrapes every guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from tests.support.fleetlab import Ended, FleetLab
from tests.support.prometheus import PrometheusServer
from tests.support.wait import until
from tradeops.base.durable import read_bounded
from tradeops.contracts.codec import decode
from tradeops.fleet.inventory import load_fleet
from tradeops.fleet.tls import TlsFiles
from tradeops.gates.evidence import Evidence, Trace

Step = Mapping[str, object]
METRICS: Mapping[str, Mapping[str, object]] = {
    "error_rate": {"kind": "ratio", "events": "tradeops_errors_total", "limit": "10%", "rare": "10%"},
    "reject_ratio": {"kind": "ratio", "events": "tradeops_orders_rejected_total", "limit": "50%"},
    "order_placement_latency": {"kind": "latency", "histogram": "tradeops_order_placement_latency_seconds", "limit": "500ms"},
    "order_rate": {"kind": "rate", "of": "tradeops_orders_sent_total"},
    "gross_notional": {"kind": "level", "gauge": "tradeops_gross_notional", "floor": 10_000.0},
    "pnl": {"kind": "limit", "gauge": "tradeops_pnl", "at_least": -10_000.0},
    "drawdown": {"kind": "limit", "gauge": "tradeops_drawdown", "at_most": 10_000.0},
}
"""The default gate's, with limits that some dozens of signals can show to be met."""
BRIEF: Mapping[str, Mapping[str, object]] = {
    **METRICS,
    "order_placement_latency": {**METRICS["order_placement_latency"], "quantile": "90%", "margin": 50.0},
}
"""For releases as good as the one before: no p99, which 386 orders of the canary would have to show, and room for what differs
from host to host on a machine that is shared.
"""


def write_playbook(fleet: FleetLab, name: str, *steps: Step, at_once: str = "1/3", **gate: object) -> str:
    """Its name, under which commands find it. gate: in what it differs from the usual one here."""
    folder = fleet.folder / "playbooks"
    folder.mkdir(exist_ok=True)
    spec = {"every": "500ms", "warm_up": "1s", "patience": "2m", "undecided": "hold", "metrics": METRICS, **gate}
    book = {"schema": "tradeops/playbook/v1", "name": name, "steps": list(steps), "at_once": at_once, "keep": 10, "gate": spec}
    (folder / f"{name}.yml").write_text(yaml.safe_dump(book))
    return name


def traces(fleet: FleetLab, ended: Ended) -> list[Trace]:
    """The evidence that the run's gates left, in their order."""
    folder = load_fleet(fleet.folder / "fleet.yml").state.runs / ended.document["run"]
    return [decode(read_bounded(path, 1 << 24), Trace, source=str(path)) for path in sorted(folder.glob("gate-*.json"))]


def metric(trace: Trace, name: str) -> Evidence:
    """One metric's last word."""
    return next(one for one in trace.verdict.metrics if one.name == name)


def share(trace: Trace) -> float:
    """What the canary took in of all that both arms took in."""
    found = metric(trace, "error_rate")
    assert found.canary and found.control
    return found.canary.exposure / (found.canary.exposure + found.control.exposure)


def prometheus_of(fleet: FleetLab, folder: Path) -> PrometheusServer:
    """One that scrapes every guard as `tradeops docs gates` says: over TLS, with the operator's certificate."""
    loaded = load_fleet(fleet.folder / "fleet.yml")
    tls = TlsFiles(loaded.state.tls)
    files = {"ca_file": str(tls.ca), "cert_file": str(tls.client), "key_file": str(tls.client_key)}
    jobs: Sequence[dict[str, object]] = [
        {
            "job_name": host.name,
            "scheme": "https",
            "tls_config": {**files, "server_name": host.name},
            "static_configs": [{"targets": [f"{host.address}:{host.control_port}"]}],
        }
        for host in loaded.hosts
    ]
    return PrometheusServer(folder, jobs, every="1s")


def start_scraping(server: PrometheusServer, fleet: FleetLab) -> None:
    """Start it, and wait until it has fresh samples of every host."""
    server.start()
    until(lambda: server.fresh("tradeops_signals_total") == len(fleet.names()), 30)
