"""Orders that are kept for the slot that is activated: what the journal told that slot, held against what the drop copies show. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.binding import Binding
from tradeops.contracts.status import Mark, OpenOrder
from tradeops.guard.venue import VenueDesk
from tradeops.guard.watch import Trader
from tradeops.wire.protocol import WorkingOrder

KEPT_NS_MAX: Final = 5 * NS_PER_S
"""How long orders may work while no slot looks after them (ours; a cutover takes well under a second)."""


@dataclass(frozen=True)
class Shown:
    """What a venue's drop copy shows of this host. working: None where it is not known.  ended: client ids whose end it told."""

    working: Collection[WorkingOrder] | None
    ended: Collection[str]


def strange(told: Collection[OpenOrder] | None, shown: Mapping[str, Shown], trades: Collection[str]) -> str:
    """Why it is not proved that what works is what the journal told the slot, order by order; empty when it is.

    What the venue has executed or ended since, it tells the slot itself, at its logon.  trades: venues that the slot trades at.
    """
    if told is None:
        return "it does not say which orders the journal holds open"
    for order in told:
        if order.venue not in trades or order.venue not in shown:
            return f"{order.id} is open at {order.venue}, where it does not trade"
    return next((said for name, one in shown.items() if (said := _at(name, [o for o in told if o.venue == name], one))), "")


def _at(venue: str, told: Collection[OpenOrder], shown: Shown) -> str:
    if shown.working is None:
        return f"what works at {venue} is not known"
    known, works = {order.id: order for order in told}, {order.client_id: order for order in shown.working}
    for name, order in works.items():
        if name not in known:
            return f"{name} works at {venue}, and the journal does not hold it open"
        if said := _differs(known[name], order):
            return f"{name} at {venue}: {said}"
    lost = [name for name in known if name not in works and name not in shown.ended]
    return f"the journal holds {', '.join(lost[:3])} open, which {venue} does not show" if lost else ""


def _differs(told: OpenOrder, shown: WorkingOrder) -> str:
    ours = (told.symbol, told.side, told.price, told.quantity)
    theirs = (shown.symbol, shown.side.value, shown.price, shown.qty)
    if ours != theirs:
        return f"the journal says {ours}, the drop copy {theirs}"
    if shown.cumulative_qty < told.filled:
        return f"the journal says {told.filled} executed, the drop copy {shown.cumulative_qty}"
    return ""


def problem(trader: Trader, binding: Binding | None, desks: Mapping[str, VenueDesk]) -> str:
    """The same of a slot's process, as its vitals and the desks stand now."""
    told = trader.vitals.open_orders if trader.vitals and trader.alive else None
    shown = {}
    for name, desk in desks.items():
        working = desk.working()
        shown[name] = Shown(None if working is None else tuple(working.values()), desk.ended)
    return strange(told, shown, [venue.name for venue in binding.venues] if binding else ())


class Unclaimed:
    """Kept orders that no slot has taken over for too long. Pure."""

    def __init__(self) -> None:
        self._mark = ""
        self._since_ns = 0

    def measure(self, marks: Iterable[Mark], now_ns: int) -> bool:
        """Whether they are to be cancelled. Each stand-down has its own time, however soon it follows on another."""
        mark = next((mark.id for mark in marks if mark.keeps_orders), "")
        if mark != self._mark:
            self._mark, self._since_ns = mark, now_ns
        return bool(mark) and now_ns - self._since_ns > KEPT_NS_MAX
