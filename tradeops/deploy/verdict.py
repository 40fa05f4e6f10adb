"""Is every host what the newest run that ended well proved there? Asks agents and guards, changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradeops.checks.drift import FleetVerdict, read_hosts, verify
from tradeops.checks.proof import Expected
from tradeops.deploy.plan import SLOT
from tradeops.fleet.host import Host
from tradeops.fleet.ports import Agents, Controls, FanOut


def fleet_verdict(
    hosts: Sequence[Host], expected: Mapping[str, Expected], agents: Agents, controls: Controls, fan_out: FanOut, *, timeout_s: float
) -> FleetVerdict:
    """Every host compared with what was asked for and with the others. timeout_s: of each connect and of each answer."""
    readings = read_hosts(hosts, agents, fan_out, slot=SLOT, timeout_s=timeout_s)
    reports = controls.identities(hosts, deadline_s=timeout_s)
    return verify(hosts, expected, readings, reports)
