"""From what is wanted and what is open to what to do: take back, or place. Pure; one order per side and symbol at most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tradeops.contracts.units import PPM
from tradeops.trader.messages import Signal
from tradeops.trader.orders.book import Tracked
from tradeops.trader.orders.states import State
from tradeops.wire.protocol import Side


class Plan(NamedTuple):
    """cancels: open orders to take back.  places: signals to make orders of, now that their side is free."""

    cancels: tuple[Tracked, ...]
    places: tuple[Signal, ...]


def plan(signals: Iterable[Signal], open_orders: Iterable[Tracked], tolerance_ppm: int) -> Plan:
    """Keep an open order whose price is within `tolerance_ppm` of the wanted one; never place on a side that is not free.

    An order that is being cancelled, or whose fate is unknown, still occupies its side: an own bid never meets the own
    offer that is on its way out.
    """
    open_orders = tuple(open_orders)
    cancels: list[Tracked] = []
    places: list[Signal] = []
    for signal in signals:
        same = [one for one in open_orders if one.order.side is signal.side]
        cancels += [one for one in same if one.state is State.WORKING and not fits(one, signal, tolerance_ppm)]
        if not same and signal.quantity and not _meets_own(signal, open_orders):
            places.append(signal)
    return Plan(tuple(cancels), tuple(places))


def near(price: int, wanted: int, tolerance_ppm: int) -> bool:
    """Whether an order at `price` need not move for one that is `wanted` elsewhere."""
    return abs(price - wanted) * PPM <= tolerance_ppm * wanted


def fits(tracked: Tracked, signal: Signal, tolerance_ppm: int) -> bool:
    """Whether an open order is as good as the one that is wanted."""
    return signal.quantity > 0 and near(tracked.order.price, signal.price, tolerance_ppm)


def _meets_own(signal: Signal, open_orders: tuple[Tracked, ...]) -> bool:
    others = [one.order.price for one in open_orders if one.order.side is not signal.side]
    if signal.side is Side.BUY:
        return any(signal.price >= price for price in others)
    return any(signal.price <= price for price in others)
