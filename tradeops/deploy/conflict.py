"""Would what ran before take what is live now for something else (D13)? Asked before a host is taken back."""

from __future__ import annotations

from collections.abc import Sequence

from tradeops.base.errors import FlagConflict
from tradeops.deploy import phases
from tradeops.deploy.crew import Crew
from tradeops.deploy.tighten import hear_guards
from tradeops.deploy.wayback import clashes
from tradeops.fleet.outcome import values


def conflicts(crew: Crew, names: Sequence[str]) -> dict[str, FlagConflict]:
    """Hosts on which going back is not safe, and why. A flag that somebody has turned off by now stands in nobody's way.

    Raises NotRecorded, OSError.
    """
    if _found(crew, names):
        hear_guards(crew, values(phases.statuses(crew, names)))
    return _found(crew, names)


def _found(crew: Crew, names: Sequence[str]) -> dict[str, FlagConflict]:
    return {name: clash for name in names if (clash := _conflict(crew, name))}


def _conflict(crew: Crew, name: str) -> FlagConflict | None:
    old = crew.plan.part(name).old
    if old is None:
        return None
    found = clashes(crew.site, crew.plan.release, old)
    if not found:
        return None
    return FlagConflict(
        "going back is not safe: " + "; ".join(found),
        where=name,
        holds="the host stays halted on the new release",
        next="`tradeops flags disable` what is named, see no order working, then `tradeops runs abort`",
    )
