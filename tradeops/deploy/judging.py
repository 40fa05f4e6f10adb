"""The gate of a step: canary beside control, read again and again until the judge has its last word; the evidence stays with the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgspec

from tradeops.base.clock import NS_PER_S
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import TradeopsError
from tradeops.contracts.codec import decode
from tradeops.deploy import phases
from tradeops.deploy.crew import Crew, PhaseFailed
from tradeops.deploy.plan import Plan
from tradeops.deploy.site import GateProgress
from tradeops.deploy.watching import look_under_gate
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Ruling, Trace, Verdict
from tradeops.gates.report import report
from tradeops.gates.spec import GateSpec
from tradeops.gates.verdict import Gate

GATE = "gate"
NO_VERDICT = "no verdict"
VERDICT = "verdict"
SHADOW = "shadow"
_TRACE_BYTES_MAX = 64 << 20
_WATCH_S = 5.0
"""Between two looks at marks, kills and releases, and at what would still be needed."""
_FIRST_S = 2.5
"""Before the first of them: whoever watches sees early that something comes in."""
_KEEP_S = 60.0
"""Between two times that the evidence so far is kept: no more of it dies with the operator's machine."""


class Undecided(Exception):
    """A gate came to no verdict: no data is never a pass. why: in words, the weightiest first.  hosts: on which it was asked for."""

    def __init__(self, why: Sequence[str], hosts: Iterable[str]) -> None:
        super().__init__("; ".join(why))
        self.why = tuple(why)
        self.hosts = tuple(hosts)


def arms_of(plan: Plan, number: int) -> Arms:
    """Hosts on the release beside those still on what they ran. In the last step nobody is: then the new ones beside those that have
    passed, at the same time and on the same market. A step that brings no new hosts when nobody is left on the old is judged alone.
    """
    reached = plan.steps[number].reached
    control = {part.host: part.old for part in plan.hosts if part.old is not None and part.host not in reached}
    if control:
        return Arms(dict.fromkeys(reached, plan.release), control)
    before = plan.steps[number - 1].reached if number else ()
    new = [name for name in reached if name not in before]
    return Arms(dict.fromkeys(new or reached, plan.release), dict.fromkeys(before if new else (), plan.release))


@dataclass(frozen=True)
class Trial:
    """What a gate is to decide. name: of its evidence.  says: in words.  bake_s, exposure_min: time and events that it asks for (D10).
    look: what else speaks against the release meanwhile, in words; raises PhaseFailed for what is no verdict on it.
    """

    name: str
    says: str
    spec: GateSpec
    arms: Arms
    bake_s: float
    exposure_min: int
    look: Callable[[], Sequence[str]]


def judge(crew: Crew, number: int, gate: GateSpec) -> None:
    """Poll until the verdict on a step is final: returns on PASS. Raises as `decide`."""
    step = crew.plan.steps[number]
    says = f"step {number + 1} ({step.says})"
    look = partial(look_under_gate, crew, step.reached)
    trial = Trial(str(number), says, gate, arms_of(crew.plan, number), step.bake_s, step.events, look)
    decide(crew, trial)
    phases.smoke(crew, step.reached)


def decide(crew: Crew, trial: Trial) -> None:
    """Poll until the verdict is final: returns on PASS. Raises PhaseFailed (phase `gate`), Undecided, KillArrived, Ousted."""
    canary = trial.arms.canary
    with crew.phase(GATE, tuple(canary)):
        verdict = _poll(crew, trial)
        _record(crew, trial, verdict)
        if verdict.ruling is Ruling.FAIL:
            why = "; ".join(verdict.why)
            raise PhaseFailed(GATE, {name: TradeopsError(why, where=name) for name in canary})
        if verdict.ruling is not Ruling.PASS:
            raise Undecided(verdict.why, canary)


def _poll(crew: Crew, trial: Trial) -> Verdict:
    """The last word. Its evidence is kept and drawn; so is that of a bake which a mark, a kill, a person or another session ended."""
    gate = Gate(trial.spec, trial.arms, bake_s=trial.bake_s, exposure_min=trial.exposure_min, now_s=_now_s(crew))
    try:
        verdict = _feed(crew, trial, gate)
    except BaseException:
        with suppress(OSError, TradeopsError):  # a disk that is full must not hide a kill
            _keep_drawn(crew, trial, gate)
        raise
    _keep_drawn(crew, trial, gate)
    return verdict


def _feed(crew: Crew, trial: Trial, gate: Gate) -> Verdict:
    clock = crew.site.clock
    spec, arms = trial.spec, trial.arms
    source = crew.site.source_for(spec)
    hosts = crew.hosts(arms.releases)
    kept_s = _now_s(crew)
    watched_s = kept_s - _WATCH_S + _FIRST_S
    while True:
        clock.sleep_s(spec.every)
        outcomes = source.read(hosts, deadline_s=crew.playbook.deadlines.control)
        look = _now_s(crew) - watched_s >= _WATCH_S
        verdict = gate.feed(outcomes, _now_s(crew), outlook=look)
        if look and not verdict.final:
            watched_s = _now_s(crew)
            _show(crew, arms, gate.trace(_title(crew, trial)))
        if (look or verdict.final) and verdict.ruling is not Ruling.FAIL:  # nor is the last word given unseen
            phases.watch(crew)
            if against := trial.look():
                verdict = gate.condemn(verdict, against)
        if verdict.final:
            _show(crew, arms, gate.trace(_title(crew, trial)))
            return verdict
        if _now_s(crew) - kept_s >= _KEEP_S:
            kept_s = _now_s(crew)
            _keep(crew, trial, gate)


def _show(crew: Crew, arms: Arms, trace: Trace | None) -> None:
    if trace is not None:
        crew.site.progress(GateProgress(crew.run, arms, trace))


def _record(crew: Crew, trial: Trial, verdict: Verdict) -> None:
    """A verdict is on record before anything follows from it (A01)."""
    detail = {"gate": trial.name, "ruling": verdict.ruling, "why": list(verdict.why)}
    intent = crew.site.ledger.intent(VERDICT, run=crew.run, hosts=tuple(trial.arms.canary), detail=detail)
    crew.journal.note(VERDICT, verdict.ruling, crew.site.clock.wall_ns(), gate=trial.name, why=list(verdict.why))
    crew.site.ledger.outcome(intent, verdict.ruling, detail={})


def _keep(crew: Crew, trial: Trial, gate: Gate) -> None:
    """What is kept with the run: the trace of each gate, in each session. Raises OSError."""
    if trace := gate.trace(_title(crew, trial)):
        write_atomic(crew.journal.folder / _file(trial.name, crew.journal.session), msgspec.json.encode(trace))


def _keep_drawn(crew: Crew, trial: Trial, gate: Gate) -> None:
    """The same, and all that is kept drawn on one page. Raises OSError, UsageError when something kept cannot be read."""
    _keep(crew, trial, gate)
    folder = crew.journal.folder
    names = (SHADOW, *map(str, range(len(crew.plan.steps))))
    kept = [folder / _file(name, session) for session in range(crew.journal.sessions()) for name in names]
    traces = [decode(read_bounded(path, _TRACE_BYTES_MAX), Trace, source=str(path)) for path in kept if path.exists()]
    write_atomic(folder / "gates.html", report(f"Gates of run {crew.run}", traces).encode())


def _file(name: str, session: int) -> str:
    return f"gate-{name}-session-{session}.json" if session else f"gate-{name}.json"


def _title(crew: Crew, trial: Trial) -> str:
    session = crew.journal.session
    again = f", taken up (session {session})" if session else ""
    return f"{trial.says} of run {crew.run}{again}: {len(trial.arms.canary)} of {len(crew.plan.hosts)} hosts"


def _now_s(crew: Crew) -> float:
    return crew.site.clock.monotonic_ns() / NS_PER_S
