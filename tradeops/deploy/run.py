"""A run: the phases in their order, and what the fleet is in at the end. Each phase is one function of deploy/phases.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tradeops.base.errors import ExitCode, LockHeld, TradeopsError
from tradeops.contracts.agent import Code, Facts
from tradeops.deploy import activation, phases
from tradeops.deploy.bringback import bring_back
from tradeops.deploy.crew import Crew, KillArrived, PhaseFailed, learn
from tradeops.deploy.journal import Journal
from tradeops.deploy.plan import Plan
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import close_all
from tradeops.deploy.site import Site
from tradeops.deploy.traffic import share_out
from tradeops.fleet.ports import AgentSession


@dataclass(frozen=True)
class HostEnd:
    """What one host is left in. release: proved to run, None: not proved or none. state: in words."""

    host: str
    state: str
    release: str | None
    trading: bool
    problem: str = ""


@dataclass(frozen=True)
class Ending:
    """How a run ended: the exit code, one sentence, every host, and what to do next."""

    run: str
    exit_code: ExitCode
    title: str
    hosts: tuple[HostEnd, ...]
    next: str = ""
    causes: dict[str, str] = field(default_factory=dict)


def carry_out(site: Site, plan: Plan, playbook: Playbook, sessions: Mapping[str, AgentSession], facts: Mapping[str, Facts]) -> Ending:
    """Deploy `plan`. Every ending is returned; only a log that cannot be written and bugs are raised.

    Exit 0 means: every host answered and its running process is the release (promise 1).
    """
    try:
        run = site.new_id()
        crew = Crew(site, plan, playbook, run, Journal.begin(site.runs, run, plan), sessions)
        learn(crew, facts)
        ending = _carry_out(crew)
        note_end(crew, ending)
        return ending
    finally:
        close_all(sessions)


def note_end(crew: Crew, ending: Ending) -> None:
    """The journal's last line: how the run ended and what each host was proved to run."""
    proved = {end.host: end.release for end in ending.hosts if not end.problem}
    crew.journal.note("end", ending.title, crew.site.clock.wall_ns(), exit_code=int(ending.exit_code), proved=proved)


def _carry_out(crew: Crew) -> Ending:
    try:
        phases.lock(crew)
        phases.stage(crew)
        activation.require_parity(crew)
    except KillArrived as kill:
        phases.unlock(crew)
        return _killed(crew, kill)
    except PhaseFailed as failed:
        phases.unlock(crew)
        return _untouched(crew, failed)
    except BaseException:
        phases.unlock(crew)
        raise
    try:
        for step in crew.plan.steps:
            share_out(crew, step)
            for wave in step.waves:
                if wave:
                    activation.require_parity(crew)
                phases.replace(crew, crew.plan.wave(wave))
            phases.bake(crew, step)
            activation.require_exercised(crew, step)
        phases.finish(crew)
        phases.prove(crew, crew.plan_hosts(), crew.expected)
    except KillArrived as kill:
        return _killed(crew, kill)
    except PhaseFailed as failed:
        return brought_back(crew, failed)
    phases.unlock(crew)
    return _proved(crew)


def brought_back(crew: Crew, failed: PhaseFailed) -> Ending:
    """Take the run's hosts back to what they ran, and say what the fleet is in."""
    try:
        open_ends = bring_back(crew)
    except KillArrived as kill:
        return _killed(crew, kill)
    causes = {name: error.what for name, error in failed.failures.items()}
    if not open_ends:
        title = f"{failed.phase} failed on {', '.join(failed.failures)}; the fleet is proved on what it ran before"
        return Ending(crew.run, ExitCode.BROUGHT_BACK, title, host_ends(crew, {}), "mend the release, build it under a new number", causes)
    title = f"{failed.phase} failed on {', '.join(failed.failures)}; {len(open_ends)} hosts could not be brought back"
    return Ending(crew.run, ExitCode.MIXED, title, host_ends(crew, open_ends), _mixed_next(crew), causes)


def host_ends(crew: Crew, open_ends: dict[str, TradeopsError]) -> tuple[HostEnd, ...]:
    """Every host's end, the odd ones first."""
    ends = [_host_end(crew, name, open_ends.get(name)) for name in crew.plan_hosts()]
    return tuple(sorted(ends, key=lambda end: (not end.problem, end.host)))


def _host_end(crew: Crew, name: str, problem: TradeopsError | None) -> HostEnd:
    state = crew.states[name]
    if problem is not None:
        return HostEnd(name, "not proved", None, False, problem.what)
    words = "proved" if state.proved else "not touched"
    return HostEnd(name, words if state.trading else f"{words}, halted", state.proved, state.trading)


def _untouched(crew: Crew, failed: PhaseFailed) -> Ending:
    codes = {error.code for error in failed.failures.values()}
    locked = any(isinstance(error, LockHeld) for error in failed.failures.values())
    refused = failed.phase == activation.PARITY or codes & {Code.SIGNATURE, Code.OLDER}
    code = ExitCode.LOCKED if locked else ExitCode.REFUSED if refused else ExitCode.PREFLIGHT
    causes = {name: error.what for name, error in failed.failures.items()}
    title = f"{failed.phase} failed on {', '.join(failed.failures)}; no host was switched"
    ends = tuple(HostEnd(name, "not touched", None, False, causes.get(name, "")) for name in crew.plan_hosts())
    return Ending(crew.run, code, title, ends, "mend what is named, then deploy again", causes)


def _killed(crew: Crew, kill: KillArrived) -> Ending:
    title = f"a kill arrived ({kill.kill}); the run stopped where it was"
    ends = tuple(
        HostEnd(name, "switched, halted" if state.switched else "on the old release, halted", state.proved, False)
        for name, state in crew.states.items()
    )
    return Ending(crew.run, ExitCode.KILLED, title, ends, f"`tradeops status`, then `tradeops runs abort {crew.run}`")


def _proved(crew: Crew) -> Ending:
    halted = sorted(name for name, state in crew.states.items() if not state.trading)
    title = f"every one of {len(crew.states)} hosts proved"
    after = ""
    if halted:
        title += f"; {len(halted)} may not trade"
        after = "`tradeops permit --all` starts trading: two people, two keys"
    return Ending(crew.run, ExitCode.PROVED, title, host_ends(crew, {}), after)


def _mixed_next(crew: Crew) -> str:
    return f"the hosts above stay halted; `tradeops verify`, then `tradeops runs abort {crew.run}`"
