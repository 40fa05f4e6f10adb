"""Commands that stop hosts name them, and leave enough of the fleet at work; only the kill is exempt (D18)."""

from __future__ import annotations

from collections.abc import Sequence

from tradeops.base.errors import Refused

STAY_SHARE = 2
"""At least one in so many hosts stays at work unless the number of hosts to stop was typed."""


def require_floor(verb: str, chosen: Sequence[str], declared: int, *, typed: int | None) -> None:
    """Raises Refused when `verb` would stop more than half of the fleet and `typed` is not their number."""
    if declared - len(chosen) >= -(-declared // STAY_SHARE) or typed == len(chosen):
        return
    raise Refused(
        f"{verb} would stop {len(chosen)} of {declared} hosts: {', '.join(chosen)}",
        holds="nothing was done",
        next=f"add --count {len(chosen)} when that is meant; `tradeops kill-switch` asks for no count",
    )
