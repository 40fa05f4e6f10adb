"""After a failed wave: halt what was switched, see that going back is safe (D13), go back, and prove the whole fleet."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tradeops.base.errors import TradeopsError
from tradeops.deploy import phases
from tradeops.deploy.attempt import attempt
from tradeops.deploy.conflict import conflicts
from tradeops.deploy.crew import Crew
from tradeops.deploy.cutback import cut_back
from tradeops.deploy.locks import let_go, regain
from tradeops.deploy.standby import end_standbys
from tradeops.deploy.traffic import divert, give_back, weigh


def bring_back(crew: Crew, condemned: Collection[str]) -> dict[str, TradeopsError]:
    """Every host back on what it ran before the run. Returns the hosts for which that could not be proved, and why.

    condemned: hosts on which what the run brought must not trade another moment.

    Goes on past the failure of one host; a host that is not proved, or whose orders were not seen to be gone, stays
    halted. One that is proved, and halted by others than the run, is back: who set that mark ends it. Raises KillArrived, Ousted.
    """
    regain(crew)
    left: dict[str, TradeopsError] = {}
    if crew.plan.cutover:
        cut_back(crew, condemned, left)
    else:
        _put_back(crew, left)
    phases.watch(crew)
    resumable = [name for name in crew.plan_hosts() if name not in left]
    free = attempt(left, lambda names: let_go(crew, names), resumable)
    resumed = attempt(left, lambda names: phases.resume(crew, names), free)
    whole = attempt(left, lambda names: weigh(crew, names, 100), resumed)
    attempt(left, lambda names: give_back(crew, names), whole)
    if not crew.plan.cutover:
        left |= end_standbys(crew) | left
    if crew.kept:  # what is not proved stays halted, which for a service without a gate means that it does not run
        attempt({}, lambda names: phases.drain(crew, names), [name for name in left if crew.states[name].switched])
    return left


def _put_back(crew: Crew, left: dict[str, TradeopsError]) -> None:
    """Halted, stopped, switched and started on what each ran, in its place; whoever was not touched is proved."""
    switched = [name for name, state in crew.states.items() if state.switched]
    attempt({}, lambda names: divert(crew, names), switched)  # what a proxy holds counts at the end, when it is to give traffic again
    if crew.kept:
        attempt({}, lambda names: let_go(crew, names), switched)
    else:
        attempt(left, lambda names: phases.drain(crew, names), switched)
    refused = conflicts(crew, switched)
    left.update(refused)
    back = [name for name in switched if name not in refused]
    for old in sorted({crew.plan.part(name).old or "" for name in back}):
        _go_back(crew, [name for name in back if (crew.plan.part(name).old or "") == old], old or None, left)
    _prove_untouched(crew, [name for name in crew.plan_hosts() if name not in switched], left)


def _go_back(crew: Crew, names: Sequence[str], old: str | None, left: dict[str, TradeopsError]) -> None:
    safe = attempt(left, lambda some: phases.whole(crew, some, old), names) if old else names
    stopped = attempt(left, lambda some: phases.stop(crew, some), safe)
    linked = attempt(left, lambda some: phases.switch(crew, some, old), stopped)
    if old is None:
        _clear_proofs(crew, linked)
        return
    started = attempt(left, lambda some: phases.start(crew, some), linked)
    attempt(left, lambda some: phases.prove_back(crew, some), started)


def _clear_proofs(crew: Crew, names: Sequence[str]) -> None:
    for name in names:
        crew.states[name].proved = None
        crew.states[name].switched = False


def _prove_untouched(crew: Crew, names: Sequence[str], left: dict[str, TradeopsError]) -> None:
    attempt(left, lambda some: phases.prove_back(crew, some), [name for name in names if crew.plan.part(name).old])
