"""What a guard tells: identity, status, health. Made from what it last saw, with the age of that."""

from __future__ import annotations

from tradeops.base.clock import NS_PER_MS, NS_PER_S
from tradeops.base.digest import short
from tradeops.contracts import identity, status
from tradeops.contracts.directive import SPEAKS
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.metrics import Counter
from tradeops.contracts.status import Check, Health, Status, Vitals
from tradeops.guard import marks, watch
from tradeops.guard.core import Guard

FEED_NS_MAX = 5 * NS_PER_S
"""How old a feed may be for health (ours; the trader's own rules are tighter)."""


def identity_of(guard: Guard) -> IdentityReport:
    """GET /v1/identity."""
    trader = guard.look()
    found = trader.vitals.identity if trader.vitals else None
    problem = "" if trader.fresh() else "no trader has written its vitals" if found is None else _unfresh(trader)
    beside = guard.standby
    return IdentityReport(
        identity.SCHEMA,
        guard.host.host,
        guard.host.fleet,
        guard.site.platform,
        found,
        _age_ms(trader),
        problem,
        standby=beside.vitals.identity if beside.vitals and beside.alive else None,
    )


def status_of(guard: Guard) -> Status:
    """GET /v1/status."""
    trader, state, stop = guard.look(), guard.memory.state, guard.memory.stop
    working, beside = guard.working(), guard.standby
    itself = _halts_itself(guard, trader)
    may = marks.trading(state, guard.memory.now()) and not itself
    return Status(
        status.STATUS_SCHEMA,
        guard.host.host,
        guard.host.fleet,
        trading=may and trader.fresh(watch.STALE_NS_MAX) and trader.writes,
        marks=state.marks,
        permit=state.permit.id if state.permit else None,
        vitals=trader.vitals,
        vitals_age_ms=_age_ms(trader),
        epoch=stop.epoch,
        blocked=stop.stopped_at is not None and guard.blocked(),
        clear=None if working is None else working == 0,
        working=working,
        platform=guard.site.platform,
        wall_ns=guard.clock.wall_ns(),
        policy_number=guard.site.policy.number if guard.site.policy else 0,
        roster_number=guard.site.roster_number,
        overlay_number=state.overlay_number,
        problems=(*guard.problems(), *([itself] if itself else ())),
        active=state.active,
        token=state.token,
        standby=beside.vitals if beside.alive else None,
        standby_age_ms=_age_ms(beside) if beside.alive else None,
        flow_cap_ppm=state.flow_cap_ppm,
        speaks=SPEAKS,
    )


def health_of(guard: Guard) -> Health:
    """GET /v1/health: every check with what was measured; unknown is not healthy."""
    trader = guard.look()
    checks = (*_trader_checks(guard, trader), *_guard_checks(guard))
    return Health(status.HEALTH_SCHEMA, guard.host.host, all(check.verdict == "yes" for check in checks), checks)


def _trader_checks(guard: Guard, trader: watch.Trader) -> tuple[Check, ...]:
    vitals = trader.vitals
    if vitals is None:
        return (_check("trader", None, "no trader has written its vitals"),)
    misfit = watch.misfit(trader, guard.slot().wanted())
    itself = _halts_itself(guard, trader)
    every = (
        _check("trader", trader.alive, f"process {vitals.identity.pid}"),
        _check("vitals", trader.fresh(), "fresh" if trader.fresh() else _unfresh(trader)),
        _check("state", vitals.state in watch.FIT_STATES and not itself, itself or vitals.state),
        _check("release", not misfit, misfit or f"release {short(vitals.identity.release)}"),
        _check("trading", marks.trading(guard.memory.state, guard.memory.now()), _why_not(guard)),
    )
    if guard.kept:
        return every
    return (
        *every,
        _feed(vitals),
        _check(
            "venue sessions", all(state == "up" for state in vitals.sessions.values()) if vitals.sessions else None, _pairs(vitals.sessions)
        ),
        _check("limits", bool(vitals.limits), f"{len(vitals.limits)} loaded"),
        _path(vitals),
        *_standby_checks(guard),
    )


def _standby_checks(guard: Guard) -> tuple[Check, ...]:
    """Of the other slot's process, when one lives."""
    if not guard.standby.alive:
        return ()
    slot = guard.other_slot
    problem = watch.unfit(guard.standby, guard.site.slot(slot).wanted())
    return (_check("standby", not problem, f"slot {slot}: {problem or 'stands by'}"),)


def _guard_checks(guard: Guard) -> tuple[Check, ...]:
    down = [f"{name}: {problem}" for name, desk in guard.desks.items() for problem in desk.problems.values()]
    page = guard.memory.problems.get("stop page", "")
    kept = guard.memory.problems.get("state", "")
    clock = guard.clock_problem()
    every = (
        _check("stop page", not page, page or f"epoch {guard.memory.stop.epoch}"),
        _check("guard state", not kept, kept or "on the disk"),
        _check("policy", guard.site.policy is not None, "; ".join(guard.site.problems.values()) or "in force"),
    )
    if guard.kept:
        return every
    return (
        *every,
        _check("drop copy", not down if guard.desks else None, "; ".join(down) or f"{len(guard.desks)} up"),
        _reconciliation(guard),
        _check("clock", not clock, clock or "within bounds of every venue asked"),
    )


def _feed(vitals: Vitals) -> Check:
    if not vitals.feed_age_ns:
        return _check("feed", None, "no feed is reported")
    name, age_ns = max(vitals.feed_age_ns.items(), key=lambda feed: feed[1])
    return _check("feed", age_ns <= FEED_NS_MAX, f"{name} is {age_ns / NS_PER_MS:.0f} ms old, {FEED_NS_MAX / NS_PER_MS:.0f} ms allowed")


def _path(vitals: Vitals) -> Check:
    passed, failed = vitals.counters.get(Counter.PATH_CHECKS_PASSED, 0), vitals.counters.get(Counter.PATH_CHECKS_FAILED, 0)
    return _check("path", False if failed else True if passed else None, f"{passed} passed, {failed} failed")


def _halts_itself(guard: Guard, trader: watch.Trader) -> str:
    """That the trader sends nothing although it may, and why, in its own words; empty: it does not say so."""
    stop = guard.memory.stop
    if trader.vitals is None or not watch.halts_itself(trader, stop.opened_at, stop.epoch):
        return ""
    return f"the trader halts itself: {'; '.join(trader.vitals.own_halts()) or 'it does not say why'}"


def _why_not(guard: Guard) -> str:
    return ", ".join(f"{mark.kind} {mark.id}" for mark in guard.memory.state.marks) or "no mark"


def _reconciliation(guard: Guard) -> Check:
    if guard.breaks:
        return _check("reconciliation", False, "; ".join(guard.breaks))
    if guard.learning:
        return _check("reconciliation", None, f"not compared yet: {', '.join(guard.learning)}")
    return _check("reconciliation", None if guard.working() is None else True, "no break")


def _check(name: str, holds: bool | None, detail: str) -> Check:
    return Check(name, "unknown" if holds is None else "yes" if holds else "no", detail)


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items())) or "none"


def _unfresh(trader: watch.Trader) -> str:
    if not trader.alive:
        return "its process is gone"
    return f"vitals are {_age_ms(trader) or 0:.0f} ms old, {watch.FRESH_NS_MAX / NS_PER_MS:.0f} ms allowed"


def _age_ms(trader: watch.Trader) -> float | None:
    return None if trader.age_ns is None else trader.age_ns / NS_PER_MS
