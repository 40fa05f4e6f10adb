"""Is every host what the newest run that ended well proved there? Asks agents and guards, changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradeops.checks.drift import FleetVerdict, read_hosts, verify
from tradeops.checks.proof import Expected
from tradeops.deploy.asked import expected_hosts
from tradeops.deploy.plan import SLOT
from tradeops.deploy.site import Site
from tradeops.fleet.host import Host


def expected_of(site: Site) -> Mapping[str, Expected]:
    """What each host should run."""
    return expected_hosts(site.runs, site.releases, site.bindings, overlay=site.overlay_number, flags_off=site.flags_off)


def fleet_verdict(site: Site, hosts: Sequence[Host], *, timeout_s: float) -> FleetVerdict:
    """Every host compared with what was asked for and with the others. timeout_s: of each connect and of each answer."""
    readings = read_hosts(hosts, site.agents, site.fan_out, slot=SLOT, timeout_s=timeout_s)
    reports = site.controls.identities(hosts, deadline_s=timeout_s)
    return verify(hosts, expected_of(site), readings, reports)
