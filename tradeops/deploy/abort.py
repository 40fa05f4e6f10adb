"""Take up a run that died, under a higher fence, and bring its hosts back to what they ran before."""

from __future__ import annotations

from collections.abc import Mapping

from tradeops.base.errors import ExitCode, Refused, TradeopsError
from tradeops.contracts.agent import Facts
from tradeops.deploy import phases
from tradeops.deploy.asked import settled_runs
from tradeops.deploy.bringback import bring_back
from tradeops.deploy.crew import Crew, KillArrived, PhaseFailed, learn
from tradeops.deploy.journal import Journal, list_runs
from tradeops.deploy.plan import Plan, here
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import close_all, open_all, survey
from tradeops.deploy.run import Ending, HostEnd, host_ends, note_end
from tradeops.deploy.site import Site


def abort(site: Site, journal: Journal, playbook: Playbook) -> Ending:
    """Every host of the run back on its old release, proved: exit 0. Any that is not: exit 6, named.

    Raises PreflightFailed when a host does not answer, LockHeld when another run holds one, Refused when the run ended
    well or hosts run what it knows nothing of: nothing is touched then.
    """
    plan = journal.plan()
    _refuse_settled(site, journal)
    sessions = open_all(site, playbook)
    try:
        facts = survey(site, sessions, playbook)
        _refuse_strangers(plan, facts)
        crew = Crew(site, plan, playbook, journal.run, journal, sessions)
        learn(crew, facts)
        ending = _abort(crew, facts)
        note_end(crew, ending)
        return ending
    finally:
        close_all(sessions)


def _refuse_settled(site: Site, journal: Journal) -> None:
    """A run that ended well is no longer its own to undo: that is a rollback, with its guard."""
    settled = [run.run for run, _ in settled_runs(site.runs)]
    later = [run.run for run in list_runs(site.runs)]
    newer = [run for run in later[later.index(journal.run) + 1 :] if run in settled]
    if journal.run in settled or newer:
        raise Refused(
            f"the run {f'was followed by {newer[-1]}' if newer else 'ended well'}; there is nothing to abort",
            where=journal.run,
            holds="nothing was touched",
            next="`tradeops rollback` goes back to an earlier release",
        )


def _refuse_strangers(plan: Plan, facts: Mapping[str, Facts]) -> None:
    """Every host must run what it ran before, what the run brought, or nothing."""
    strange = {name: there for name, fact in facts.items() if (there := here(fact)) not in (None, plan.part(name).old, plan.release)}
    if strange:
        raise Refused(
            "runs a release that is neither the run's nor the one before it",
            where=", ".join(strange),
            holds="nothing was touched",
            next="`tradeops verify` tells what runs where; `tradeops rollback` or a new deploy puts it right",
        )


def _abort(crew: Crew, facts: Mapping[str, Facts]) -> Ending:
    try:
        phases.lock(crew, takeover=True)
        for name, fact in facts.items():
            crew.states[name].switched = _touched(crew, name, fact)
        left = bring_back(crew)
    except PhaseFailed as failed:
        phases.unlock(crew)
        return _not_aborted(crew, failed.failures)
    except KillArrived as kill:
        ends = tuple(HostEnd(name, "halted", None, False) for name in crew.plan_hosts())
        return Ending(crew.run, ExitCode.KILLED, f"a kill arrived ({kill.kill})", ends, "`tradeops status`")
    if left:
        return _not_aborted(crew, left)
    return Ending(crew.run, ExitCode.PROVED, "the run is undone; every host is proved on what it ran before", host_ends(crew, {}))


def _touched(crew: Crew, name: str, facts: Facts) -> bool:
    """Whether a host may be anywhere but plainly running its old release."""
    part = crew.plan.part(name)
    running = next((slot for slot in facts.running if slot.slot == crew.plan.slot), None)
    idle = running is None or running.pid is None
    return here(facts) is not None or not idle if part.old is None else here(facts) != part.old or idle


def _not_aborted(crew: Crew, left: Mapping[str, TradeopsError]) -> Ending:
    causes = {name: error.what for name, error in left.items()}
    title = f"{len(left)} of {len(crew.states)} hosts could not be brought back"
    return Ending(crew.run, ExitCode.MIXED, title, host_ends(crew, dict(left)), "`tradeops verify` tells what each one runs", causes)
