"""What a run looks for while it waits: hosts that stopped being what they were proved to be."""

from __future__ import annotations

from collections.abc import Sequence

from tradeops.base.digest import short
from tradeops.base.errors import TradeopsError
from tradeops.contracts.status import Status
from tradeops.deploy import phases
from tradeops.deploy.crew import Crew, PhaseFailed
from tradeops.fleet.outcome import values

BAKE = "bake"


def refuse_odd(crew: Crew, names: Sequence[str]) -> None:
    """Raises PhaseFailed when a host shows a mark that it got since, or another release than the run's."""
    odd = {name: words for name, status in values(phases.statuses(crew, names)).items() if (words := _odd(crew, name, status))}
    if odd:
        raise PhaseFailed(BAKE, {name: TradeopsError(words, where=name) for name, words in odd.items()})


def _odd(crew: Crew, name: str, status: Status) -> str:
    if fresh := [mark for mark in status.marks if mark.id not in crew.states[name].marks]:
        return "; ".join(f"{mark.kind} by {mark.by}: {mark.reason}" for mark in fresh)
    runs = status.vitals.identity.release if status.vitals else crew.plan.release
    return "" if runs == crew.plan.release else f"runs {short(runs)}, and not the run's release"
