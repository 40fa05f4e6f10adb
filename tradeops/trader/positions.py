"""What is held, from executions alone. Pure arithmetic in integers; cash and cost are kept exact, in 1e-18 units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tradeops.contracts.units import UNIT
from tradeops.trader.messages import Fill, sign


class Position(NamedTuple):
    """One symbol. quantity: signed, 1e-9 units.  cash: signed, 1e-18 units: what was paid and received for it.

    cost: what the quantity held was bought (or sold) for, at its average price: cash + cost is what has been realised.
    """

    quantity: int = 0
    cash: int = 0
    cost: int = 0

    def after(self, fill: Fill) -> Position:
        """This position once `fill` is in it."""
        signed = sign(fill.side) * fill.quantity
        quantity = self.quantity + signed
        if self.quantity * signed >= 0:
            cost = self.cost + signed * fill.price
        elif quantity * self.quantity >= 0:
            cost = self.cost * quantity // self.quantity  # at the same average price
        else:
            cost = quantity * fill.price  # through zero: a new position
        return Position(quantity, self.cash - signed * fill.price, cost)


class Totals(NamedTuple):
    """Over all symbols at their marks, 1e-9 units. A symbol without a mark counts at its cost; marked: there is none such."""

    gross: int
    net: int
    pnl: int
    marked: bool = True


class Positions:
    """Positions by symbol."""

    def __init__(self) -> None:
        self._held: dict[str, Position] = {}

    def quantity(self, symbol: str) -> int:
        """The signed quantity held of `symbol`."""
        held = self._held.get(symbol)
        return held.quantity if held else 0

    def quantities(self) -> dict[str, int]:
        """Signed quantities of all symbols ever traded."""
        return {symbol: held.quantity for symbol, held in self._held.items()}

    def apply(self, fill: Fill) -> None:
        """Count an execution."""
        self._held[fill.symbol] = self._held.get(fill.symbol, Position()).after(fill)

    def totals(self, marks: Mapping[str, int]) -> Totals:
        """Gross, net and profit at `marks` (symbol -> price)."""
        gross = net = pnl = 0
        marked = True
        for symbol, held in self._held.items():
            mark = marks.get(symbol)
            worth = held.cost if mark is None else held.quantity * mark
            marked = marked and (mark is not None or not held.quantity)
            value = worth // UNIT if worth >= 0 else -(-worth // UNIT)
            gross += abs(value)
            net += value
            pnl += (held.cash + worth) // UNIT
        return Totals(gross, net, pnl, marked)


class Profit:
    """Profit and drawdown since the process started: a release answers for itself, not for what it inherited."""

    def __init__(self) -> None:
        self._start: int | None = None
        self._peak = 0

    def since_start(self, pnl: int) -> tuple[int, int]:
        """What was gained since the first call, and how far that is below its highest; 1e-9 units, as `pnl` is."""
        if self._start is None:
            self._start = pnl
        gained = pnl - self._start
        self._peak = max(self._peak, gained)
        return gained, self._peak - gained
