"""An overlay to every guard at once: recorded before it is sent, and read back from guards and traders until all have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.errors import TradeopsError
from tradeops.contracts.binding import Overlay
from tradeops.contracts.directive import Directive
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.status import Status
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import values
from tradeops.safety.desk import Desk, Taken, order

READ_BACK_S = 3.0
"""How long traders may take to read what their guards have laid before them; they look ten times a second."""
_POLL_S = 0.1


def lay(desk: Desk, hosts: Sequence[Host], directive: Directive, envelope: Envelope, overlay: Overlay, clock: Clock) -> Taken:
    """Send and read back. Hosts on which it is not in force are in the answer with what they have instead, not raised.

    Raises NotRecorded when nothing can be written (A03): then nothing was sent.
    """
    taken = order(desk, hosts, directive, envelope)
    until_ns = clock.monotonic_ns() + int(READ_BACK_S * NS_PER_S)
    while True:
        behind = _behind(taken, lambda status: not_in_force(status, overlay))
        if not behind or clock.monotonic_ns() >= until_ns:
            return replace(taken, problems={**behind, **taken.problems})
        clock.sleep_s(_POLL_S)
        taken = replace(taken, statuses=desk.controls.statuses(hosts, deadline_s=desk.deadline_s))


def _behind(taken: Taken, open_point: Callable[[Status], str]) -> dict[str, TradeopsError]:
    """Hosts that took the directive and do not show what it says, or do not answer any more."""
    seen = values(taken.statuses)
    words = {name: open_point(seen[name]) if name in seen else "took it, and has not been heard since" for name in taken.statuses}
    return {name: TradeopsError(said, where=name) for name, said in words.items() if said and name not in taken.problems}


def not_in_force(status: Status, overlay: Overlay) -> str:
    """In what a host falls short of the overlay; empty when in nothing. A host without a trader has nothing more to obey it."""
    if status.overlay_number < overlay.number:
        return f"its guard has overlay {status.overlay_number}"
    if status.vitals is None:
        return ""
    age_s = (status.vitals_age_ms or 0) / 1000
    identity = status.vitals.identity
    if identity.overlay < overlay.number:
        return f"its trader, heard {age_s:.1f} s ago, has overlay {identity.overlay}"
    return ""
