"""What a run looks for while it waits: hosts that stopped being what they were proved to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradeops.base.clock import NS_PER_S
from tradeops.base.digest import short
from tradeops.base.errors import TradeopsError
from tradeops.contracts.status import Mark, Status
from tradeops.deploy import phases
from tradeops.deploy.crew import Crew, PhaseFailed
from tradeops.fleet.outcome import values

BAKE = "bake"
_GAP_NS = 20 * NS_PER_S
"""Between two looks of one silence."""


def refuse_odd(crew: Crew, names: Sequence[str]) -> None:
    """Raises PhaseFailed when a host shows a mark that it got since, another release than the run's, or nothing for as long as a
    proof is waited for.
    """
    seen = values(phases.statuses(crew, names))
    unheard = {name: words for name in names if (words := _unheard(crew, name, seen.get(name)))}
    _refuse(unheard | _odd(crew, seen))


def look_under_gate(crew: Crew, names: Sequence[str]) -> list[str]:
    """What guards themselves hold against the release, which is for the gate to say. What else is odd is no verdict on it: raises
    PhaseFailed. What silence comes to, the gate says too.
    """
    seen = values(phases.statuses(crew, names))
    tripped = {name: [mark for mark in _fresh(crew, name, status) if mark.tripped] for name, status in seen.items()}
    if against := [f"{name}: {_words(marks)}" for name, marks in tripped.items() if marks]:
        return against
    _refuse(_odd(crew, seen))
    return []


def _refuse(odd: Mapping[str, str]) -> None:
    if odd:
        raise PhaseFailed(BAKE, {name: TradeopsError(words, where=name) for name, words in odd.items()})


def _unheard(crew: Crew, name: str, status: Status | None) -> str:
    """For how long a host said nothing, when that is too long: unknown is not well."""
    state, now_ns = crew.states[name], crew.site.clock.monotonic_ns()
    if status is not None and (status.vitals or crew.kept):
        state.silent_ns = None
        return ""
    began_ns, last_ns = state.silent_ns or (now_ns, now_ns)
    state.silent_ns = (now_ns if now_ns - last_ns > _GAP_NS else began_ns, now_ns)
    silent_s = (now_ns - state.silent_ns[0]) / NS_PER_S
    who = "its guard" if status is None else "its trader"
    return f"nothing was heard of {who} for {silent_s:.0f} s" if silent_s >= crew.playbook.deadlines.prove else ""


def _odd(crew: Crew, seen: Mapping[str, Status]) -> dict[str, str]:
    return {name: words for name, status in seen.items() if (words := _words(_fresh(crew, name, status)) or _stranger(crew, status))}


def _stranger(crew: Crew, status: Status) -> str:
    runs = status.vitals.identity.release if status.vitals else crew.plan.release
    return "" if runs == crew.plan.release else f"runs {short(runs)}, and not the run's release"


def _fresh(crew: Crew, name: str, status: Status) -> list[Mark]:
    return [mark for mark in status.marks if mark.id not in crew.states[name].marks]


def _words(marks: Sequence[Mark]) -> str:
    return "; ".join(f"{mark.kind} by {mark.by}: {mark.reason}" for mark in marks)
