"""Is every host what the newest run that ended well proved there? Asks agents and guards, changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from tradeops.checks.drift import FleetVerdict, Reading, read_hosts, verify
from tradeops.checks.finding import Finding, Verdict, odd_first
from tradeops.checks.proof import Expected
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.status import Status
from tradeops.deploy.exclusion import Excluded
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Outcome, values
from tradeops.fleet.ports import Agents, Controls, FanOut


def fleet_verdict(
    hosts: Sequence[Host],
    expected: Callable[[Mapping[str, int]], Mapping[str, Expected]],
    agents: Agents,
    controls: Controls,
    fan_out: FanOut,
    *,
    timeout_s: float,
    control_s: float,
    deadline_s: float | None = None,
) -> FleetVerdict:
    """Every host compared with what was asked for and with the others; agents and guards are asked at the same time.

    expected: by host, when it is known which number of an overlay each reports.
    timeout_s: of each connect to an agent and of each of its answers.  control_s: of a guard's answer.
    deadline_s: of everything that one agent is asked [three answers].
    """
    readings: dict[str, Outcome[Reading]] = {}
    reports: dict[str, Outcome[IdentityReport]] = {}
    statuses: dict[str, Outcome[Status]] = {}
    fan_out.together(
        (
            lambda: readings.update(read_hosts(hosts, agents, fan_out, timeout_s=timeout_s, deadline_s=deadline_s)),
            lambda: reports.update(controls.identities(hosts, deadline_s=control_s)),
            lambda: statuses.update(controls.statuses(hosts, deadline_s=control_s)),
        )
    )
    numbers = {name: report.identity.overlay for name, report in values(reports).items() if report.identity}
    return verify(hosts, expected(numbers), readings, reports, statuses)


def name_excluded(verdict: FleetVerdict, excluded: Iterable[Excluded], now_ns: int) -> FleetVerdict:
    """A host whose exclusion stands is an open finding, whatever else is found of it."""
    findings = dict(verdict.findings)
    for each in excluded:
        findings[each.host] = (Finding(each.host, "excluded", Verdict.NO, each.words(now_ns)), *findings.get(each.host, ()))
    return replace(verdict, findings={name: findings[name] for name in odd_first(findings)})
