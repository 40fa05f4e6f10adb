"""Take up a run that died, under a higher fence, and bring its hosts back to what they ran before."""

from __future__ import annotations

from collections.abc import Mapping

from tradeops.base.errors import ExitCode, TradeopsError
from tradeops.contracts.agent import Facts
from tradeops.deploy import phases
from tradeops.deploy.bringback import bring_back
from tradeops.deploy.crew import Crew, KillArrived, PhaseFailed, learn
from tradeops.deploy.journal import Journal
from tradeops.deploy.plan import running_release
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import close_all, open_all, survey
from tradeops.deploy.run import Ending, HostEnd, host_ends, note_end
from tradeops.deploy.site import Site


def abort(site: Site, journal: Journal, playbook: Playbook) -> Ending:
    """Every host of the run back on its old release, proved: exit 0. Any that is not: exit 6, named.

    Raises PreflightFailed when a host does not answer, LockHeld when another run holds one: nothing is touched then.
    """
    plan = journal.plan()
    sessions = open_all(site, playbook)
    try:
        facts = survey(site, sessions, playbook)
        crew = Crew(site, plan, playbook, journal.run, journal, sessions)
        learn(crew, facts)
        ending = _abort(crew, facts)
        note_end(crew, ending)
        return ending
    finally:
        close_all(sessions)


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
    if part.old is None:
        return running_release(facts) is not None or (running is not None and running.pid is not None)
    return running_release(facts) != part.old or running is None or running.pid is None


def _not_aborted(crew: Crew, left: Mapping[str, TradeopsError]) -> Ending:
    causes = {name: error.what for name, error in left.items()}
    title = f"{len(left)} of {len(crew.states)} hosts could not be brought back"
    return Ending(crew.run, ExitCode.MIXED, title, host_ends(crew, dict(left)), "`tradeops verify` tells what each one runs", causes)
