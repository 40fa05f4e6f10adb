"""What a standby would do, held against what the slot that trades has done. Counts; changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.metrics import Counter
from tradeops.trader.messages import Signal
from tradeops.trader.orders.book import Tracked
from tradeops.trader.orders.plan import fits
from tradeops.trader.telemetry import Telemetry
from tradeops.wire.protocol import Side

APART_NS_MAX: Final = NS_PER_S
"""How long the two may be apart before it counts: both see the same quotes, each at its own moment."""


class Shadow:
    """By symbol and side: since when the two have been apart."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._apart: dict[tuple[str, Side], int] = {}

    def compare(
        self, signals: Iterable[Signal], open_orders: Sequence[Tracked], placed: Sequence[Signal], tolerance_ppm: int, now_ns: int
    ) -> None:
        """One symbol's signals. open_orders: the other slot's, by the journal.  placed: signals that became orders here.

        Counts each side once per decision, and a side that stays apart once per `APART_NS_MAX`.
        """
        for signal in signals:
            self._telemetry.count(Counter.DECISIONS_COMPARED)
            key = signal.symbol, signal.side
            if self._agree(signal, [one for one in open_orders if one.order.side is signal.side], placed, tolerance_ppm):
                self._apart.pop(key, None)
            elif now_ns - self._apart.setdefault(key, now_ns) > APART_NS_MAX:
                self._telemetry.count(Counter.DECISIONS_DIFFERENT)
                self._apart[key] = now_ns

    def _agree(self, signal: Signal, working: Sequence[Tracked], placed: Sequence[Signal], tolerance_ppm: int) -> bool:
        if not working:
            return signal not in placed
        return any(fits(one, signal, tolerance_ppm) and (one.order.reduce or one.order.quantity == signal.quantity) for one in working)
