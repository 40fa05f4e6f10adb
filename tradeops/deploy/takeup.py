"""Take up a run that died, was held, or ended with hosts in between: `resume` carries it on, `abort` takes its hosts back.

Either way under a higher fence: an earlier session that is still alive somewhere is refused by every host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tradeops.base.errors import ExitCode, Refused
from tradeops.contracts.agent import Facts
from tradeops.deploy.asked import settled_runs
from tradeops.deploy.crew import Crew
from tradeops.deploy.ending import Ending, Setback
from tradeops.deploy.journal import PUT_OUT, SETBACK, Journal, list_runs
from tradeops.deploy.leftout import LeaveOut, narrow, put_out, without
from tradeops.deploy.past import Past, past_of
from tradeops.deploy.places import here
from tradeops.deploy.plan import Plan
from tradeops.deploy.preflight import close_all, open_all, survey
from tradeops.deploy.run import conduct
from tradeops.deploy.site import Site


def resume(site: Site, journal: Journal) -> Ending:
    """Carry the run on from what its hosts say, to the end that it would have reached undisturbed.

    Raises PreflightFailed when a host does not answer, Refused when the run ended well or hosts run what it knows
    nothing of: nothing is touched then.
    """
    return _take_up(site, journal, past_of(journal))


def abort(site: Site, journal: Journal, *, leave_out: LeaveOut | None = None) -> Ending:
    """Every host of the run back on its old release, proved: exit 0. Any that is not: exit 6, named. Raises as `resume`.

    leave_out: hosts that are gone: killed, now or when they are heard, and the others brought back; it does not end with 0 then.
    """
    undone = Setback("the run", {site.person: "aborted"}, ExitCode.PROVED)
    past = replace(past_of(journal), setback=undone)
    if leave_out:
        _refuse_settled(site, journal)
        _put_out(site, journal, undone, leave_out)
    return _take_up(site, journal, past)


def _put_out(site: Site, journal: Journal, undone: Setback, leave_out: LeaveOut) -> None:
    """These hosts are the run's no longer, and it goes back from here on: so too for whoever takes it up after this one."""
    without(site, (*journal.plan().excluded, *leave_out.hosts))
    put_out(narrow(site, leave_out.hosts), leave_out.reason)
    now_ns = site.clock.wall_ns()
    journal.note(SETBACK, undone.phase, now_ns, causes=undone.causes, exit_code=int(undone.code))
    journal.note(PUT_OUT, leave_out.reason, now_ns, hosts=list(leave_out.hosts))


def _take_up(site: Site, journal: Journal, past: Past) -> Ending:
    plan, playbook = journal.plan(), journal.playbook()
    _refuse_settled(site, journal)
    if past.rejected:
        site.quarantine.put(plan.release, run=journal.run, why=past.rejected)
    site = narrow(site, plan.excluded)
    _refuse_others(site, plan)
    if past.setback is None:
        if plan.approvals:
            authors = site.releases.authors(plan.release, site.policy)
            site.approvals.refuse_resumer(plan.digest(), executor=site.person, authors=authors)
        site.exclusions.require(plan.excluded, site.policy, site.clock.wall_ns())
    sessions = open_all(site, playbook)
    try:
        facts = survey(site, sessions, playbook).facts
        _refuse_strangers(plan, facts)
        crew = Crew(site, plan, playbook, journal.run, journal.take_up(), sessions)
    except BaseException:
        close_all(sessions)
        raise
    return conduct(crew, facts, past)


def _refuse_settled(site: Site, journal: Journal) -> None:
    """A run that ended well is no longer its own to undo: that is a rollback, with its guard."""
    settled = next((run.run for run, _ in settled_runs(site.runs)), None)
    runs = [run.run for run in list_runs(site.runs)]
    if settled in runs[runs.index(journal.run) :]:
        raise Refused(
            f"the run {'ended well' if settled == journal.run else f'was followed by {settled}'}; there is nothing to take up",
            where=journal.run,
            holds="nothing was touched",
            next="`tradeops rollback` goes back to an earlier release"
            + ("; a hold that the run left ends with `tradeops resume --host HOST --reason TEXT`" if settled != journal.run else ""),
        )


def _refuse_others(site: Site, plan: Plan) -> None:
    """The run's hosts must be the fleet's: it can say nothing of one that is in no file any more, nor of one that came since."""
    now, then = {host.name for host in site.hosts}, {part.host for part in plan.hosts}
    if now == then:
        return
    gone, new = sorted(then - now), sorted(now - then)
    words = [f"not in the fleet file any more: {', '.join(gone)}"] if gone else []
    words += [f"not in the run's plan: {', '.join(new)}"] if new else []
    after = "take up the run before they are added"
    if gone:
        after = f'put {", ".join(gone)} back into the fleet file, then `tradeops runs abort RUN --exclude {gone[0]} --reason "..."`'
    raise Refused(f"the run is for other hosts; {'; '.join(words)}", where=", ".join(gone + new), holds="nothing was touched", next=after)


def _refuse_strangers(plan: Plan, facts: Mapping[str, Facts]) -> None:
    """Every host must run what it ran before, what the run brought, or nothing."""
    strange = {name: there for name, fact in facts.items() if (there := here(fact)) not in (None, plan.part(name).old, plan.release)}
    if strange:
        raise Refused(
            "runs a release that is neither the run's nor the one before it",
            where=", ".join(strange),
            holds="nothing was touched",
            next="`tradeops verify` tells what runs where; `tradeops rollback` or a new deploy puts it right; of a run that is held, "
            f'`tradeops runs abort RUN --exclude {min(strange)} --reason "..."` takes the others back before that',
        )
