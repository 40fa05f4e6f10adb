"""Is what stands by fit to trade? Asked of its own vitals, before it is tried or given the token."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.sim.host import SimHost
from tests.sim.world import make_manifest
from tradeops.base.clock import NS_PER_S, VirtualClock
from tradeops.checks.finding import open_findings
from tradeops.checks.smoke import smoke_standby
from tradeops.contracts.status import Status


def status() -> Status:
    """Of a host that trades in blue and stands by in green."""
    manifest = make_manifest(1)
    host = SimHost("h1", "f", VirtualClock(), {manifest.id(): manifest})
    host.runs_already(manifest.id())
    host.stands_by_too(manifest.id())
    return host.status()


@pytest.mark.parametrize(
    ("changes", "odd"),
    [
        ({}, []),
        ({"state": "starting"}, ["standby"]),
        ({"writes": True}, ["standby"]),
        ({"feed_age_ns": {}}, ["standby's feed"]),
        ({"feed_age_ns": {"a": 0, "b": 6 * NS_PER_S}}, ["standby's feed"]),
        ({"limits": {}}, ["standby's limits"]),
        ({"warnings": ("a gap",)}, ["no warning of the standby"]),
    ],
)
def test_a_standby_is_fit_when_it_could_trade_at_once(changes: dict[str, Any], odd: list[str]) -> None:
    """O09, D17: alive, not the writer, fed, with limits, without a warning."""
    seen = status()
    assert seen.standby is not None
    changed = replace(seen, standby=replace(seen.standby, **changes))
    assert [finding.check for finding in open_findings(smoke_standby("h1", changed, "green"))] == odd


def test_what_is_not_there_or_silent_is_not_fit() -> None:
    """No process, one of another slot, or vitals that are old."""
    seen = status()
    assert open_findings(smoke_standby("h1", replace(seen, standby=None), "green"))[0].detail == "nothing stands by in slot green"
    assert open_findings(smoke_standby("h1", seen, "blue"))
    assert open_findings(smoke_standby("h1", replace(seen, standby_age_ms=1500.0), "green"))[0].check == "standby's vitals"
