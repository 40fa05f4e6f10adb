"""Is a host that runs the right release also fit to trade? Its guard's health and status, one verdict per check."""

from __future__ import annotations

from tradeops.base.clock import NS_PER_MS, NS_PER_S
from tradeops.checks.finding import Finding, Verdict, confirm
from tradeops.contracts.status import Health, MarkKind, Status

PATH_CHECKS = frozenset({"path", "trading"})
"""Health checks that need a permit; on a host that may not trade they belong to `permit` (design: run)."""
AGE_MS_MAX = 1000.0
FEED_NS_MAX = 5 * NS_PER_S
"""What a guard demands of the slot that trades, demanded of the one beside it."""


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


def smoke_standby(host: str, status: Status, slot: str) -> tuple[Finding, ...]:
    """Whether what stands by in `slot` could trade: alive, fed, without a warning. Only then is it tried, or given the token."""
    vitals, age_ms = status.standby, status.standby_age_ms
    if vitals is None or vitals.identity.slot != slot:
        return (Finding(host, "standby", Verdict.NO, f"nothing stands by in slot {slot}"),)
    feed_ns = max(vitals.feed_age_ns.values(), default=None)
    return (
        confirm(host, "standby", vitals.state == "standby" and not vitals.writes, f"slot {slot} is {vitals.state}"),
        confirm(host, "standby's vitals", age_ms is not None and age_ms <= AGE_MS_MAX, f"{age_ms or 0:.0f} ms old"),
        confirm(host, "standby's feed", feed_ns is not None and feed_ns <= FEED_NS_MAX, f"{(feed_ns or 0) / NS_PER_MS:.0f} ms old"),
        confirm(host, "standby's limits", bool(vitals.limits), f"{len(vitals.limits)} loaded"),
        confirm(host, "no warning of the standby", not vitals.warnings, "; ".join(vitals.warnings[:3]) or "none"),
    )


def kills_on(status: Status) -> frozenset[str]:
    """Ids of the kills that a host carries."""
    return frozenset(mark.id for mark in status.marks if mark.kind is MarkKind.KILL)
