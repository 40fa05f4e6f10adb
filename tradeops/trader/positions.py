"""What is held, from executions alone. Pure arithmetic in integers; cash is kept exact, in 1e-18 units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tradeops.contracts.units import UNIT
from tradeops.trader.messages import Fill, sign


class Position(NamedTuple):
    """One symbol. quantity: signed, 1e-9 units.  cash: signed, 1e-18 units: what was paid and received for it."""

    quantity: int = 0
    cash: int = 0

    def after(self, fill: Fill) -> Position:
        """This position once `fill` is in it."""
        signed = sign(fill.side) * fill.quantity
        return Position(self.quantity + signed, self.cash - signed * fill.price)


class Totals(NamedTuple):
    """Over all symbols at their marks, 1e-9 units. A symbol without a mark counts at its cost."""

    gross: int
    net: int
    pnl: int


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
        for symbol, held in self._held.items():
            mark = marks.get(symbol)
            worth = _at_cost(held) if mark is None else held.quantity * mark
            value = worth // UNIT if worth >= 0 else -(-worth // UNIT)
            gross += abs(value)
            net += value
            pnl += (held.cash + worth) // UNIT
        return Totals(gross, net, pnl)


def _at_cost(held: Position) -> int:
    return -held.cash if held.quantity else 0
