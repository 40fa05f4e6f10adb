"""Is a host that runs the right release also fit to trade? Its guard's health and status, one verdict per check."""

from __future__ import annotations

from tradeops.checks.finding import Finding, Verdict, confirm
from tradeops.contracts.status import Health, MarkKind, Status

PATH_CHECKS = frozenset({"path", "trading"})
"""Health checks that need a permit; on a host that may not trade they belong to `permit` (design: run)."""


def smoke_host(host: str, health: Health | None, status: Status | None) -> tuple[Finding, ...]:
    """One finding per check of the guard; a guard that does not answer or checks nothing is unknown."""
    if health is None or status is None:
        return (Finding(host, "guard answers", Verdict.UNKNOWN, "the guard did not answer"),)
    armed = not status.marks
    findings = [
        Finding(host, check.name, Verdict(check.verdict), check.detail) for check in health.checks if armed or check.name not in PATH_CHECKS
    ]
    warnings = status.vitals.warnings if status.vitals else ()
    findings.append(confirm(host, "vitals", status.vitals is not None, "the trader writes its vitals"))
    findings.append(confirm(host, "no warning since start", not warnings, "; ".join(warnings[:3]) or "none"))
    return tuple(findings)


def kills_on(status: Status) -> frozenset[str]:
    """Ids of the kills that a host carries."""
    return frozenset(mark.id for mark in status.marks if mark.kind is MarkKind.KILL)
