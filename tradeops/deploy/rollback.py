"""Take the whole fleet back to a release that it ran before: the rollback guard first (D13), then an ordinary run."""

from __future__ import annotations

from collections.abc import Mapping

from tradeops.base.errors import FlagConflict
from tradeops.contracts.agent import Facts
from tradeops.deploy.asked import warm_run
from tradeops.deploy.ending import Ending
from tradeops.deploy.leftout import LeaveOut, put_out, without
from tradeops.deploy.places import here
from tradeops.deploy.plan import make_plan
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import close_all, judge, open_all, survey
from tradeops.deploy.run import carry_out
from tradeops.deploy.site import Site
from tradeops.deploy.takeup import abort
from tradeops.deploy.wayback import clashes


def rollback(site: Site, release: str, playbook: Playbook, *, leave_out: LeaveOut | None = None) -> Ending:
    """Halt, drain, switch, prove every host on `release`; exit 0 when proved. Where it still stands by in the slots that the newest
    run took over from, they take over again, in no time: that run is aborted. leave_out: as in a deploy, and always in place.

    Raises FlagConflict while a live flag means something else to `release`, Refused when it is not whole on every
    host, PreflightFailed, LockHeld. Nothing is touched then.
    """
    playbook = playbook.model_copy(update={"blackout": ()})  # going back is never held up
    site = without(site, leave_out.hosts) if leave_out else site
    sessions = open_all(site, playbook)
    try:
        seen = survey(site, sessions, playbook)
        facts, warm = seen.facts, None if leave_out else warm_run(site.runs, release)
        if warm is None:
            judge(site, release, playbook, seen, back=True)
        refuse_conflicts(site, release, facts)
        if warm is not None:
            close_all(sessions)
            return abort(site, warm)
        drawn = make_plan(site, release, playbook, facts)
        if leave_out:
            put_out(site, leave_out.reason)
    except BaseException:
        close_all(sessions)
        raise
    return carry_out(site, drawn, playbook, sessions, facts)


def refuse_conflicts(site: Site, release: str, facts: Mapping[str, Facts]) -> None:
    """Raises FlagConflict naming every host whose live flags `release` would read differently."""
    found = {name: "; ".join(words) for name, fact in facts.items() if (now := here(fact)) and (words := clashes(site, now, release))}
    if found:
        raise FlagConflict(
            f"{len(found)} hosts run what the target would take for something else\n"
            + "\n".join(f"{name}: {words}" for name, words in found.items()),
            where=", ".join(found),
            holds="nothing was touched; the fleet stays as it is",
            next="`tradeops halt --all`, `tradeops flags disable` what is named, then roll back",
        )
