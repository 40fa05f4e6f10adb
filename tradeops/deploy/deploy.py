"""From a release and a playbook to an ending: open, survey, judge, plan, and carry out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tradeops.base.errors import Refused
from tradeops.contracts.agent import Facts
from tradeops.deploy.activation import going_on, refuse_untried
from tradeops.deploy.ending import Ending
from tradeops.deploy.forecast import forecast
from tradeops.deploy.leftout import LeaveOut, put_out, without
from tradeops.deploy.plan import Plan, make_plan
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import close_all, judge, open_all, refuse_blackout, refuse_held, survey
from tradeops.deploy.run import carry_out
from tradeops.deploy.site import Site
from tradeops.deploy.wayback import refuse_risks, see_way_back
from tradeops.fleet.ports import AgentSession
from tradeops.gates.estimate import Estimate


def plan(site: Site, release: str, playbook: Playbook, *, exclude: Sequence[str] = ()) -> Plan:
    """What a deploy would do now, without the hosts in `exclude`; reads only. Raises PreflightFailed, LockHeld, Refused."""
    sessions, drawn, _ = _prepare(without(site, exclude) if exclude else site, release, playbook)
    close_all(sessions)
    return drawn


def deploy(site: Site, release: str, playbook: Playbook, *, plan_digest: str | None = None, leave_out: LeaveOut | None = None) -> Ending:
    """Bring `release` to every host of the fleet. plan_digest: refuse unless the plan is still that one.

    leave_out: hosts that are excluded, which means killed, and the others deployed to; such a run does not end with 0.

    Raises PreflightFailed, LockHeld, Refused before anything is touched; every other end is returned.
    """
    refuse_blackout(playbook, site.clock.wall_ns())
    refuse_held(site)
    site = without(site, leave_out.hosts) if leave_out else site
    sessions, drawn, facts = _prepare(site, release, playbook)
    if plan_digest is not None and drawn.digest() != plan_digest:
        close_all(sessions)
        raise Refused(
            f"the plan is now {drawn.digest()}, not {plan_digest}: the fleet or the release moved",
            holds="nothing was touched",
            next="read `tradeops plan` again and approve what it says now",
        )
    try:
        refuse_risks(drawn, plan_digest)
        if drawn.approvals:
            authors = site.releases.authors(release, site.policy)
            site.approvals.use(drawn.digest(), drawn.approvals, executor=site.person, authors=authors, now_ns=site.clock.wall_ns())
        if leave_out:
            put_out(site, leave_out.reason)
    except BaseException:
        close_all(sessions)
        raise
    return carry_out(site, drawn, playbook, sessions, facts)


def outlook(estimates: Sequence[tuple[str, Estimate]]) -> tuple[str, ...]:
    """The gates' times in words, as they stand now."""
    return tuple(
        f"gate of {says}: "
        + ("no verdict" if one.seconds is None else f"a verdict after about {one.seconds:,.0f} s")
        + " at the current rate"
        + "".join(f"; {problem}" for problem in one.problems)
        for says, one in estimates
    )


def _prepare(site: Site, release: str, playbook: Playbook) -> tuple[dict[str, AgentSession], Plan, dict[str, Facts]]:
    site.quarantine.refuse(release)  # whoever approves a plan approves what a deploy then does
    site.releases.authors(release, site.policy)  # signed by nobody who may: nothing is planned (A05)
    sessions = open_all(site, playbook)
    try:
        seen = survey(site, sessions, playbook)
        judge(site, release, playbook, seen)
        facts = seen.facts
        drawn = make_plan(site, release, playbook, facts, going_on(site, release, facts))
        refuse_untried(drawn)
        way = see_way_back(site, sessions, playbook, release, facts)
        drawn = msgspec.structs.replace(drawn, back=way.says, risks=way.risks, outlook=outlook(forecast(site, drawn, playbook)))
        return sessions, drawn, facts
    except BaseException:
        close_all(sessions)
        raise
