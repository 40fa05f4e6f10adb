"""A run: lock, stage, step after step, prove, finish; and how it ends when one of these does not come true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from tradeops.base.errors import ExitCode, TradeopsError
from tradeops.contracts.agent import Facts
from tradeops.deploy import activation, cutover, ending, phases
from tradeops.deploy.attempt import attempt
from tradeops.deploy.bringback import bring_back
from tradeops.deploy.crew import Crew, KillArrived, Ousted, PhaseFailed, learn
from tradeops.deploy.ending import Ending, Setback
from tradeops.deploy.journal import Journal
from tradeops.deploy.judging import NO_VERDICT, Undecided
from tradeops.deploy.leftout import take_in
from tradeops.deploy.locks import lock, unlock
from tradeops.deploy.past import Past, note_setback, touched
from tradeops.deploy.places import in_slot
from tradeops.deploy.plan import Plan
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import close_all
from tradeops.deploy.site import Site
from tradeops.deploy.standby import end_standbys
from tradeops.deploy.steps import advance
from tradeops.deploy.tighten import take_over
from tradeops.deploy.waiting import stay_halted, wait
from tradeops.fleet.ports import AgentSession
from tradeops.record.audit import NotRecorded


def carry_out(site: Site, plan: Plan, playbook: Playbook, sessions: Mapping[str, AgentSession], facts: Mapping[str, Facts]) -> Ending:
    """Deploy `plan`. Every ending is returned; only a log that cannot be written and bugs are raised.

    Exit 0 means: every host answered and its running process is the release (promise 1).
    """
    try:
        run = site.new_id()
        crew = Crew(site, plan, playbook, run, Journal.begin(site.runs, run, plan, playbook), sessions)
    except BaseException:
        close_all(sessions)
        raise
    return conduct(crew, facts, Past())


def conduct(crew: Crew, facts: Mapping[str, Facts], past: Past) -> Ending:
    """Carry a run on from what has become of it so far, and note how it ended. Closes the crew's sessions."""
    try:
        learn(crew, facts)
        end = ending.beside_excluded(crew, _conduct(crew, past))
        try:
            ending.note_end(crew, end)
        except OSError as error:
            end = ending.beside_excluded(crew, ending.unrecorded(crew, error))
        return replace(end, bytes_sent=sum(state.session.bytes_sent for state in crew.states.values()))
    finally:
        close_all({name: state.session for name, state in crew.states.items()})


def _conduct(crew: Crew, past: Past) -> Ending:
    try:
        if early := _prepare(crew, past):
            return early
        return _onward(crew, past)
    except KillArrived as kill:
        unlock(crew)
        return ending.killed(crew, kill)
    except Ousted as why:
        return ending.ousted(crew, why)


def _onward(crew: Crew, past: Past) -> Ending:
    """From here on hosts are touched: a record that fills up ends the run where it is, and every host is told of (A03)."""
    try:
        return _go_on(crew, past) if past.setback is None else _go_back(crew, past.setback)
    except (NotRecorded, OSError) as error:
        unlock(crew)
        return ending.unrecorded(crew, error)
    except (PhaseFailed, TradeopsError) as error:
        unlock(crew)
        return ending.broken_off(crew, error)


def _prepare(crew: Crew, past: Past) -> Ending | None:
    """Lock, look at what is there, and stage. The ending when that fails: then nothing was switched."""
    take_over(crew)
    try:
        lock(crew, takeover=crew.journal.session > 0)
        if crew.journal.session:
            _recognise(crew, past)
        if past.setback is None:
            phases.stage(crew)
            activation.require_parity(crew)
    except PhaseFailed as failed:
        unlock(crew)
        return ending.untouched(crew, failed)
    except (KillArrived, Ousted):
        raise
    except BaseException:
        unlock(crew)
        raise
    return None


def _recognise(crew: Crew, past: Past) -> None:
    """What an earlier session of the run has left on each host, asked now that nobody else can change it."""
    facts = crew.all("facts", crew.plan_hosts(), crew.facts, deadline_s=crew.playbook.deadlines.verb)
    for name, fact in facts.items():
        state, runs = crew.states[name], in_slot(fact, crew.plan.part(name).slot)
        state.switched = touched(crew.plan, name, fact)
        state.standing = runs is not None and runs.pid is not None and runs.release == crew.plan.release
        state.beside = state.beside or crew.plan.cutover is not None
        state.leased = name in past.leased
    there = [name for name in past.proved if past.setback is None and crew.states[name].switched]
    unproved: dict[str, TradeopsError] = {}
    for name in attempt(unproved, partial(phases.prove, crew, expected=crew.expected), there):
        crew.states[name].there = True


def _go_on(crew: Crew, past: Past) -> Ending:
    try:
        cutover.begin(crew, past)
        advance(crew, past.passed)
        cutover.stay_warm(crew, past)
        left = end_standbys(crew)
        done = [name for name in crew.plan_hosts() if name not in left]
        phases.finish(crew, done)
        phases.prove(crew, done, crew.expected)
    except PhaseFailed as failed:
        return _go_back(crew, Setback.of(failed))
    except Undecided as why:
        return wait(crew, why) or _go_back(crew, Setback(NO_VERDICT, dict.fromkeys(why.hosts, str(why))))
    take_in(crew.site, done, crew.run)
    unlock(crew)
    return ending.left_beside(crew, left) if left else ending.proved(crew)


def _go_back(crew: Crew, setback: Setback) -> Ending:
    """Take the run's hosts back to what they ran, and say what the fleet is in. Who takes the run up from here goes back as well."""
    if setback.code is ExitCode.ROLLED_BACK:  # before the note: whoever takes the run up after a death in between finds it rejected
        crew.site.quarantine.put(crew.plan.release, run=crew.run, why=setback.reason())
    note_setback(crew, setback)
    for state in crew.states.values():  # only what is proved from here on says where the fleet is left
        state.proved = None
    left = stay_halted(crew) if _to_stay(crew, setback) else bring_back(crew, setback.condemned())
    unlock(crew)
    return ending.taken_back(crew, setback, left)


def _to_stay(crew: Crew, setback: Setback) -> bool:
    """Whether a person is to look at the hosts as they are. Where none was switched, there is nothing to look at."""
    rejected = setback.code is ExitCode.ROLLED_BACK and crew.playbook.on_fail == "halt"
    return rejected and any(state.switched for state in crew.states.values())
