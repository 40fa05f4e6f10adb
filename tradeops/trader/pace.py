"""Pacing: the least time between two new orders, for venues that throttle (R07). Cancels never wait. Pure.

What has to wait is no order yet: it is decided anew when its turn comes, on the quote of then, and judged and sent at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from tradeops.trader.messages import Signal
from tradeops.wire.protocol import Side

Place = tuple[str, Side]
"""Symbol and side: at most one order is wanted on each."""


class Pace:
    """Who may send now. The longest waiting goes first."""

    def __init__(self, gap_ns: int) -> None:
        """gap_ns: between two orders; 0: nobody ever waits."""
        self._gap_ns = gap_ns
        self._waiting: dict[Place, int] = {}
        self._sent_ns: int | None = None

    def turn(self, place: Place, now_ns: int) -> int | None:
        """Since when an order has been wanted at `place`, if it may go now; None: it waits."""
        if not self._gap_ns:
            return now_ns
        since_ns = self._waiting.setdefault(place, now_ns)
        early = self._sent_ns is not None and now_ns - self._sent_ns < self._gap_ns
        if early or since_ns > min(self._waiting.values()):
            return None
        del self._waiting[place]
        return since_ns

    def sent(self, now_ns: int) -> None:
        """An order went."""
        self._sent_ns = now_ns

    def waits(self, symbol: str, wanted: Iterable[Signal]) -> bool:
        """Whether an order in `symbol` waits, now that only these are wanted there."""
        if not self._waiting:
            return False
        sides = {signal.side for signal in wanted}
        for side in Side:
            if side not in sides:
                self._waiting.pop((symbol, side), None)
        return any((symbol, side) in self._waiting for side in sides)

    def clear(self) -> None:
        """Nothing is wanted any more."""
        self._waiting.clear()
