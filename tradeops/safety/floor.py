"""Commands that stop hosts name them, and leave enough of the fleet at work; only the kill is exempt (D18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradeops.base.errors import Refused

STAY_SHARE = 2
"""At least one in so many hosts stays at work unless the number of hosts to stop was typed."""


def require_floor(verb: str, chosen: Sequence[str], trading: Mapping[str, bool], declared: int, *, typed: int | None) -> None:
    """Raises Refused when `verb` would leave less than half of the fleet at work and `typed` is not the number of `chosen`.

    trading: of each host that was heard, whether it trades. One that was not heard counts as stopped already when it is not
    chosen, and as stopped by this when it is; hosts that do not trade can be halted at any time.
    """
    stopped = [name for name in chosen if trading.get(name, True)]
    left = sum(works for name, works in trading.items() if name not in chosen)
    if not stopped or left >= -(-declared // STAY_SHARE) or typed == len(chosen):
        return
    raise Refused(
        f"{verb} would stop {', '.join(stopped)} and leave {left} of {declared} hosts at work",
        holds="nothing was done",
        next=f"add --count {len(chosen)} when that is meant; `tradeops kill-switch` asks for no count",
    )
