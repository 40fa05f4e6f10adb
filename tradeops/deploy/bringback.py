"""After a failed wave: halt what was switched, see that going back is safe (D13), go back, and prove the whole fleet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tradeops.base.errors import FlagConflict, TradeopsError
from tradeops.checks.proof import Expected
from tradeops.deploy import phases
from tradeops.deploy.crew import Crew, PhaseFailed
from tradeops.deploy.locks import let_go, regain
from tradeops.deploy.traffic import divert, give_back, weigh
from tradeops.release.flags import conflicts, journal_conflict


def bring_back(crew: Crew) -> dict[str, TradeopsError]:
    """Every host back on what it ran before the run. Returns the hosts for which that could not be proved, and why.

    Goes on past the failure of one host; a host that is not proved, or whose orders were not seen to be gone, stays
    halted. Raises KillArrived, Ousted.
    """
    regain(crew)
    switched = [name for name, state in crew.states.items() if state.switched]
    left: dict[str, TradeopsError] = {}
    attempt({}, lambda names: divert(crew, names), switched)  # what a proxy holds counts at the end, when it is to give traffic again
    if crew.kept:
        attempt({}, lambda names: let_go(crew, names), switched)
    else:
        attempt(left, lambda names: phases.drain(crew, names), switched)
    refused = {name: conflict for name in switched if (conflict := _conflict(crew, name))}
    left.update(refused)
    back = [name for name in switched if name not in refused]
    for old in sorted({crew.plan.part(name).old or "" for name in back}):
        _go_back(crew, [name for name in back if (crew.plan.part(name).old or "") == old], old or None, left)
    _prove_untouched(crew, [name for name in crew.plan_hosts() if name not in switched], left)
    phases.watch(crew)
    resumable = [name for name in crew.plan_hosts() if name not in left]
    free = attempt(left, lambda names: let_go(crew, names), resumable)
    resumed = attempt(left, lambda names: phases.resume(crew, names), free)
    whole = attempt(left, lambda names: weigh(crew, names, 100), resumed)
    attempt(left, lambda names: give_back(crew, names), whole)
    if crew.kept:  # what is not proved stays halted, which for a service without a gate means that it does not run
        attempt({}, lambda names: phases.drain(crew, names), [name for name in switched if name in left])
    return left


def _go_back(crew: Crew, names: Sequence[str], old: str | None, left: dict[str, TradeopsError]) -> None:
    safe = attempt(left, lambda some: phases.whole(crew, some, old), names) if old else names
    stopped = attempt(left, lambda some: phases.stop(crew, some), safe)
    linked = attempt(left, lambda some: phases.switch(crew, some, old), stopped)
    if old is None:
        _clear_proofs(crew, linked)
        return
    started = attempt(left, lambda some: phases.start(crew, some), linked)
    attempt(left, lambda some: phases.prove(crew, some, _old_of(crew)), started)


def _clear_proofs(crew: Crew, names: Sequence[str]) -> None:
    for name in names:
        crew.states[name].proved = None
        crew.states[name].switched = False


def _prove_untouched(crew: Crew, names: Sequence[str], left: dict[str, TradeopsError]) -> None:
    attempt(left, lambda some: phases.prove(crew, some, _old_of(crew)), [name for name in names if crew.plan.part(name).old])


def _old_of(crew: Crew) -> Callable[[str], Expected]:
    return lambda name: crew.expected_of(name, crew.plan.part(name).old or "")


def _conflict(crew: Crew, name: str) -> FlagConflict | None:
    old = crew.plan.part(name).old
    if old is None:
        return None
    target = crew.site.releases.manifest(old).predicate
    clashes = [str(clash) for clash in conflicts(crew.expected(name).flags or {}, target)]
    if journal := journal_conflict(crew.site.releases.manifest(crew.plan.release).predicate, target):
        clashes.append(journal)
    if not clashes:
        return None
    return FlagConflict(
        "going back is not safe: " + "; ".join(clashes),
        where=name,
        holds="the host stays halted on the new release",
        next="`tradeops flags disable` what is named, see no order working, then `tradeops runs abort`",
    )


def attempt(left: dict[str, TradeopsError], phase: Callable[[Sequence[str]], None], names: Sequence[str]) -> list[str]:
    """Run a phase on `names` without those that fail; they are noted in `left`. Returns those that came true."""
    pending = list(names)
    while pending:
        try:
            phase(pending)
        except PhaseFailed as failed:
            left.update(failed.failures)
            still = [name for name in pending if name not in failed.failures]
            if len(still) == len(pending):
                raise
            pending = still
        else:
            break
    return pending
