"""Would what ran before take what is live now for something else (D13)? Asked before a host is taken back."""

from __future__ import annotations

from tradeops.base.errors import FlagConflict
from tradeops.deploy.crew import Crew
from tradeops.deploy.wayback import clashes


def conflict(crew: Crew, name: str) -> FlagConflict | None:
    """Why going back is not safe on a host; None when it is, or nothing ran there."""
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
