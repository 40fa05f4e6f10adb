"""One symbol: its newest valid quote, what is wrong now, the mean of its mids, and the anchor of its price window."""

from __future__ import annotations

from tradeops.contracts.units import PPM
from tradeops.trader.market.rules import Fault, QuoteRules
from tradeops.trader.messages import Quote
from tradeops.wire.marketdata import QuoteRow

NEVER = -1


class SymbolBook:
    """Prices are kept as bid + ask, twice the mid, so that nothing is rounded."""

    __slots__ = (
        "_anchor_from_ns",
        "_anchor_next",
        "_jumps",
        "_level",
        "_rules",
        "anchor",
        "exchange_ns",
        "fault",
        "halted",
        "high_sum",
        "local_ns",
        "low_sum",
        "mean_sum",
        "row",
        "symbol",
    )

    def __init__(self, symbol: str, reference_price: int, rules: QuoteRules) -> None:
        self.symbol = symbol
        self.row: QuoteRow | None = None
        self.fault: Fault | None = Fault.NO_QUOTE
        self.halted = False
        self.exchange_ns = NEVER
        self.local_ns = NEVER
        self.mean_sum = 0
        self.anchor: int | None = None
        self.low_sum, self.high_sum = _band(2 * reference_price, rules.first_max_ppm)
        self._rules = rules
        self._anchor_next: int | None = None
        self._anchor_from_ns = 0
        self._jumps = 0
        self._level = 0

    def judge(self, row: QuoteRow) -> Fault | None:
        """What is wrong with a quote in itself and beside the ones before it."""
        if row.bid <= 0 or row.ask <= 0 or row.bid_qty <= 0 or row.ask_qty <= 0:
            return Fault.NOT_POSITIVE
        if row.bid >= row.ask:
            return Fault.CROSSED
        if row.exchange_ns < self.exchange_ns:
            return Fault.OUT_OF_ORDER
        if (row.ask - row.bid) * PPM > row.bid * self._rules.spread_max_ppm:
            return Fault.SPREAD
        if not self.low_sum <= row.bid + row.ask <= self.high_sum:
            return self._jump(row.bid + row.ask)
        return None

    def take(self, row: QuoteRow, local_ns: int) -> None:
        """Make a judged quote the newest."""
        total = row.bid + row.ask
        if self.mean_sum:
            self.mean_sum += (total - self.mean_sum) >> self._rules.mean_shift
        else:
            self.mean_sum = total
        if self.row is None or total != self.row.bid + self.row.ask:
            self.low_sum, self.high_sum = _band(total, self._rules.jump_max_ppm)
        self.row = row
        self.fault = None
        self.exchange_ns = row.exchange_ns
        self.local_ns = local_ns
        self._jumps = 0
        if self._anchor_next is None or local_ns - self._anchor_from_ns >= self._rules.anchor_window_ns:
            self._turn_window(total // 2, local_ns)

    def quote(self) -> Quote | None:
        """The newest valid quote; None before the first."""
        row = self.row
        if row is None:
            return None
        return Quote(self.symbol, row.exchange_ns, self.local_ns, row.bid, row.ask)

    def mid(self) -> int | None:
        """Halfway between bid and ask of the newest valid quote."""
        return (self.row.bid + self.row.ask) // 2 if self.row else None

    def _jump(self, total: int) -> Fault | None:
        """A jump, unless the new level has been told often enough in a row."""
        low, high = _band(self._level, self._rules.jump_max_ppm)
        self._jumps = self._jumps + 1 if low <= total <= high else 1
        self._level = total
        confirmed = self.row is not None and self._jumps >= self._rules.jump_confirm
        return None if confirmed else Fault.JUMP

    def _turn_window(self, mid: int, local_ns: int) -> None:
        """The anchor is the mid one to two windows ago: what a drip of small steps is measured against."""
        self.anchor = mid if self._anchor_next is None else self._anchor_next
        self._anchor_next = mid
        self._anchor_from_ns = local_ns


def _band(total: int, ppm: int) -> tuple[int, int]:
    reach = total * ppm // PPM
    return total - reach, total + reach
