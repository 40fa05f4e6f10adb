"""How a run ended: the exit code, one sentence, every host as it was last seen, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tradeops.base.errors import ExitCode, LockHeld, TradeopsError
from tradeops.contracts.agent import Code
from tradeops.contracts.status import Mark, MarkKind, Status
from tradeops.deploy.activation import PARITY
from tradeops.deploy.crew import Crew, KillArrived, Ousted, PhaseFailed
from tradeops.deploy.journal import END, OWN
from tradeops.deploy.judging import GATE, NO_VERDICT, Undecided
from tradeops.deploy.leftout import strike_waiting
from tradeops.deploy.phases import statuses
from tradeops.fleet.outcome import values

_OF_A_FLEET = (ExitCode.PROVED, ExitCode.ROLLED_BACK, ExitCode.BROUGHT_BACK)
"""What says something of every host."""
_ONE_PERSON = {MarkKind.HALT, MarkKind.HOLD}
"""Marks that one person lifts."""
_AFTER = {
    ExitCode.ROLLED_BACK: "mend the release, build it under a new number",
    ExitCode.BROUGHT_BACK: "mend what is named, then deploy again",
}
"""What to do after a fleet was brought back."""


@dataclass(frozen=True)
class HostEnd:
    """What one host is left in. release: proved to run, None: not proved or none.  state: in words.  trading: None: not known."""

    host: str
    state: str
    release: str | None
    trading: bool | None
    problem: str = ""


@dataclass(frozen=True)
class Ending:
    """final: the run's own end, which its journal keeps; not so where this session alone ended.

    own: what it came to on its own hosts, where that cannot be said of the fleet, since a host was left out.
    bytes_sent: payload to the agents of all hosts together.
    """

    run: str
    exit_code: ExitCode
    title: str
    hosts: tuple[HostEnd, ...]
    next: str = ""
    causes: dict[str, str] = field(default_factory=dict)
    final: bool = True
    bytes_sent: int = 0
    own: ExitCode | None = None


@dataclass(frozen=True)
class Setback:
    """Why hosts are taken back. causes: by host.  code: what the run ends with when every host is proved back."""

    phase: str
    causes: dict[str, str]
    code: ExitCode = ExitCode.BROUGHT_BACK

    def words(self) -> str:
        """What failed, and where."""
        if self.code is ExitCode.PROVED:
            return "the run was aborted"
        said = self.phase if self.phase == NO_VERDICT else f"{self.phase} failed"
        return f"{said} on {', '.join(self.causes)}"

    def reason(self) -> str:
        """The same with what each cause was: for a gate, the metric."""
        return f"{self.words()}: {'; '.join(dict.fromkeys(self.causes.values()))}"

    def condemned(self) -> frozenset[str]:
        """Hosts whose gate failed: what the run brought must not trade there another moment."""
        return frozenset(self.causes) if self.code is ExitCode.ROLLED_BACK else frozenset()

    @classmethod
    def of(cls, failed: PhaseFailed) -> Setback:
        """A phase that did not come true; a gate that failed says so by its exit code."""
        code = ExitCode.ROLLED_BACK if failed.phase == GATE else ExitCode.BROUGHT_BACK
        return cls(failed.phase, {name: error.what for name, error in failed.failures.items()}, code)


def note_end(crew: Crew, ending: Ending) -> None:
    """The journal's last line: how the run ended, what each host was proved to run, and in which slot."""
    if ending.final:
        proved = {end.host: end.release for end in ending.hosts if not end.problem}
        slots = {name: state.slot for name, state in crew.states.items() if proved.get(name)}
        own = {} if ending.own is None else {OWN: int(ending.own)}
        crew.journal.note(END, ending.title, crew.site.clock.wall_ns(), exit_code=int(ending.exit_code), proved=proved, slots=slots, **own)


def proved(crew: Crew) -> Ending:
    """Exit 0: every host answered and runs the release."""
    ends = host_ends(crew, {})
    halted = [end.host for end in ends if not end.trading]
    cold = [name for name, state in crew.states.items() if state.cold]
    title = f"every one of {len(ends)} hosts proved" + (f"; {len(halted)} may not trade" if halted else "")
    title += f"; the slot to go back to had died on {', '.join(cold)}" if cold else ""
    return Ending(crew.run, ExitCode.PROVED, title, ends, _starts_trading(crew, halted) if halted else "")


def _starts_trading(crew: Crew, halted: Sequence[str]) -> str:
    """Whose word hosts wait for that were proved and may not trade: it is their marks that say so."""
    seen = values(statuses(crew, halted))
    marks = {name: {mark.kind for mark in seen[name].marks} if name in seen else set() for name in halted}
    if all(kinds and kinds <= _ONE_PERSON for kinds in marks.values()):
        hosts = "--all" if len(halted) == len(crew.states) else " ".join(f"--host {name}" for name in halted)
        return f'`tradeops resume {hosts} --reason "..."` starts trading: one person'
    return "`tradeops permit --all` starts trading: two people, two keys"


def left_beside(crew: Crew, left: Mapping[str, TradeopsError]) -> Ending:
    """The run took nothing back; left: hosts where what stands by beside the release could not be ended."""
    whole = len(crew.states) - len(left)
    title = f"{whole} of {len(crew.states)} hosts proved; on {', '.join(sorted(left))} a standby could not be ended"
    causes = {name: error.what for name, error in left.items()}
    return Ending(crew.run, ExitCode.MIXED, title, host_ends(crew, left), f"`tradeops runs resume {crew.run}` ends it", causes)


def taken_back(crew: Crew, setback: Setback, left: Mapping[str, TradeopsError]) -> Ending:
    """After hosts were taken back; left: those for which that could not be proved. Nobody's old release is taken for proved."""
    if left := {**_unproved(crew), **left}:
        title = f"{setback.words()}; {len(left)} of {len(crew.states)} hosts could not be brought back"
        after = f"`tradeops verify`, then `tradeops runs abort {crew.run}`"
        causes = setback.causes | {name: error.what for name, error in left.items()}
        return Ending(crew.run, ExitCode.MIXED, title, host_ends(crew, left), after, causes)
    ends = host_ends(crew, {})
    halted = sum(end.release is not None and end.trading is False for end in ends)
    more = f"; {halted} may not trade" if halted else ""
    if setback.code is ExitCode.PROVED:
        title, after = "the run is undone; every host is proved on what it ran before", ""
    else:
        title, after = f"{setback.words()}; the fleet is proved on what it ran before", _AFTER[setback.code]
    return Ending(crew.run, setback.code, title + more, ends, after, setback.causes)


def _unproved(crew: Crew) -> dict[str, TradeopsError]:
    """Hosts that ran a release before, and were not proved to run it since the run turned back."""
    parts = [part for part in crew.plan.hosts if part.old and crew.states[part.host].proved != part.old]
    return {part.host: TradeopsError("not proved on what it ran before", where=part.host) for part in parts}


def untouched(crew: Crew, failed: PhaseFailed) -> Ending:
    """Locks or the release could not be brought to every host: none was switched by this session."""
    codes = {error.code for error in failed.failures.values()}
    locked = any(isinstance(error, LockHeld) for error in failed.failures.values())
    refused = codes & {Code.SIGNATURE, Code.OLDER} or failed.phase == PARITY
    code = ExitCode.LOCKED if locked else ExitCode.REFUSED if refused else ExitCode.PREFLIGHT
    causes = {name: error.what for name, error in failed.failures.items()}
    again = crew.journal.session > 0
    title = f"{failed.phase} failed on {', '.join(failed.failures)}; no host was switched"
    after = f"mend what is named, then `tradeops runs resume {crew.run}`" if again else "mend what is named, then deploy again"
    ends = tuple(HostEnd(name, "not touched", None, None, causes.get(name, "")) for name in crew.plan_hosts())
    return Ending(crew.run, code, title, ends, after, causes, final=not again)


def held(crew: Crew, why: Undecided, state: str, problems: Mapping[str, TradeopsError]) -> Ending:
    """No verdict: exit 5, unless a host could not be told to wait. state: of the hosts that have not passed, in words."""
    trading = _trading(crew)
    ends = []
    for name in crew.plan_hosts():
        waits, problem = crew.states[name].open, problems[name].what if name in problems else ""
        runs = crew.states[name].proved if waits else None
        ends.append(HostEnd(name, state if waits else "not in the run's hands", runs, trading[name], problem))
    code = ExitCode.MIXED if problems else ExitCode.INCONCLUSIVE
    after = f"`tradeops runs resume {crew.run}` when evidence can come, or `tradeops runs abort {crew.run}`"
    causes = {name: error.what for name, error in problems.items()} | {"gate": str(why)}
    return Ending(crew.run, code, f"no verdict: {why.why[0]}; {state}", tuple(ends), after, causes)


def killed(crew: Crew, kill: KillArrived) -> Ending:
    """Somebody stopped hosts: the run stands where it is."""
    title = f"a kill arrived ({kill.kill}); the run stopped where it was"
    return Ending(crew.run, ExitCode.KILLED, title, _as_seen(crew), f"`tradeops status`, then `tradeops runs abort {crew.run}`")


def unrecorded(crew: Crew, error: TradeopsError | OSError) -> Ending:
    """Nothing more can be written down, so nothing more is done: hosts that have not passed are held when their leases end."""
    title = f"the run cannot be recorded any more ({error}); it stopped where it was"
    after = f"make room, then `tradeops runs resume {crew.run}` or `tradeops runs abort {crew.run}`"
    ends = tuple(replace(end, problem="the run stopped before its end was recorded") for end in _as_seen(crew))
    return Ending(crew.run, ExitCode.MIXED, title, ends, after, final=False)


def broken_off(crew: Crew, error: TradeopsError | PhaseFailed) -> Ending:
    """Nobody expected this error: the run stops where it is, and no host of it is proved."""
    title = f"the run broke off ({error}); it stopped where it was"
    after = f"`tradeops status`, then `tradeops runs resume {crew.run}` or `tradeops runs abort {crew.run}`"
    ends = tuple(replace(end, problem="the run broke off before this host was proved") for end in _as_seen(crew))
    return Ending(crew.run, ExitCode.MIXED, title, ends, after)


def ousted(crew: Crew, why: Ousted) -> Ending:
    """Another session has the hosts: this one ended, and does not know how they stand."""
    ends = tuple(HostEnd(name, "left to who holds it now", None, None) for name in crew.plan_hosts())
    return Ending(crew.run, ExitCode.LOCKED, f"this session was replaced: {why}", ends, f"`tradeops runs show {crew.run}`", final=False)


def beside_excluded(crew: Crew, end: Ending) -> Ending:
    """With the hosts that the run left out: what it came to on the others is then not said of the fleet (promises 1, 5)."""
    if not crew.plan.excluded:
        return end
    strike_waiting(crew)
    site, now_ns = crew.site, crew.site.clock.wall_ns()
    heard = values(site.controls.statuses(site.excluded, deadline_s=crew.playbook.deadlines.control))
    left = {name: site.exclusions.find(name) for name in crew.plan.excluded}
    ends = tuple(
        HostEnd(
            name,
            "excluded, and its kill waits until it is heard" if name not in heard else _worded("excluded", heard[name].trading),
            None,
            heard[name].trading if name in heard else None,
            f"excluded {found.words(now_ns)}" if found else "was left out of the run",
        )
        for name, found in left.items()
    )
    names = ", ".join(crew.plan.excluded)
    title = f"{end.title}; excluded, and not proved: {names}"
    if end.exit_code not in _OF_A_FLEET:
        return replace(end, title=title, hosts=(*ends, *end.hosts))
    after = f"bring {names} back and deploy to every host: what is proved is excluded no longer"
    return replace(end, exit_code=ExitCode.MIXED, own=end.exit_code, title=title, hosts=(*ends, *end.hosts), next=end.next or after)


def host_ends(crew: Crew, left: Mapping[str, TradeopsError]) -> tuple[HostEnd, ...]:
    """Every host's end, the odd ones first."""
    seen = values(statuses(crew, crew.plan_hosts()))
    ends = [_host_end(crew, name, left.get(name), seen.get(name)) for name in crew.plan_hosts()]
    return tuple(sorted(ends, key=lambda end: (not end.problem, end.host)))


def _host_end(crew: Crew, name: str, problem: TradeopsError | None, status: Status | None) -> HostEnd:
    trading = status.trading if status else None
    if problem is not None:
        return HostEnd(name, _worded("not proved", trading), None, trading, problem.what)
    proved = crew.states[name].proved
    ends = _resumed_by(name, status.marks) if proved and status else ""
    return HostEnd(name, _worded("proved" if proved else "nothing runs", trading) + ends, proved, trading)


def _resumed_by(name: str, marks: Sequence[Mark]) -> str:
    """Whose halts keep a host from trading, and what ends them, where one person may and no run does."""
    whole = [mark for mark in marks if mark.scope.everything()]
    if not whole or any(mark.kind is not MarkKind.HALT or mark.run for mark in whole):
        return ""
    return f" by {', '.join(dict.fromkeys(mark.by for mark in whole))}: `tradeops resume --host {name} --reason TEXT`"


def _as_seen(crew: Crew) -> tuple[HostEnd, ...]:
    trading = _trading(crew)
    return tuple(
        HostEnd(name, _worded("switched" if state.switched else "on the old release", trading[name]), None, trading[name])
        for name, state in crew.states.items()
    )


def _worded(state: str, trading: bool | None) -> str:
    return f"{state}, trading not known" if trading is None else state if trading else f"{state}, halted"


def _trading(crew: Crew) -> dict[str, bool | None]:
    """Whether each host trades, as its guard says now; None: it does not answer."""
    seen = values(statuses(crew, crew.plan_hosts()))
    return {name: seen[name].trading if name in seen else None for name in crew.plan_hosts()}
