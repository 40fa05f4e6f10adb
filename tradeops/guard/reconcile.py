"""The trader's books against the drop copy: what does not meet within a few seconds is a break (R14). Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.status import Vitals
from tradeops.contracts.units import format_units

WINDOW_NS: Final = 3 * NS_PER_S
"""How far the two may be apart in time."""
FRESH_NS: Final = NS_PER_S
"""Vitals older than this are not compared."""
_SETTLED: Final = frozenset({"ready", "halted"})


@dataclass
class _Pair:
    """Two series that must meet: what each was at the moments seen within the window."""

    seen: deque[tuple[int, int, int]] = field(default_factory=deque)

    def add(self, now_ns: int, theirs: int, ours: int) -> None:
        self.seen.append((now_ns, theirs, ours))
        while len(self.seen) > 1 and self.seen[1][0] <= now_ns - WINDOW_NS:
            self.seen.popleft()

    def met(self, now_ns: int) -> bool:
        """Whether either series has been within the other's range; not old enough to say counts as yes."""
        if now_ns - self.seen[0][0] < WINDOW_NS:
            return True
        theirs, ours = [pair[1] for pair in self.seen], [pair[2] for pair in self.seen]
        return min(ours) <= theirs[-1] <= max(ours) or min(theirs) <= ours[-1] <= max(theirs)


class Reconciler:
    """Compares working orders, and positions since both were first seen together, again when a venue lost its memory."""

    def __init__(self) -> None:
        self._working = _Pair()
        self._positions: dict[str, _Pair] = {}
        self._offset: dict[str, int] = {}
        self._memory: object = None

    def measure(
        self, vitals: Vitals | None, filled: Mapping[str, int], working: int | None, memory: object, now_ns: int
    ) -> tuple[str, ...]:
        """The breaks that are open, each with both values. Nothing is compared while either side is not there.

        A trader that has not said anything for a moment is the watchdog's matter: its books are old, not wrong.
        """
        if vitals is None or working is None or vitals.state not in _SETTLED:
            self._working, self._positions = _Pair(), {}
            return ()
        if now_ns - vitals.beat_ns > FRESH_NS:
            return ()
        if memory != self._memory:
            self._memory, self._positions = memory, {}
            self._offset = {symbol: vitals.positions.get(symbol, 0) - filled.get(symbol, 0) for symbol in {*vitals.positions, *filled}}
        self._working.add(now_ns, vitals.working, working)
        breaks = [] if self._working.met(now_ns) else [f"working orders: trader {vitals.working}, drop copy {working}"]
        for symbol in sorted({*vitals.positions, *filled}):
            expected = filled.get(symbol, 0) + self._offset.get(symbol, 0)
            pair = self._positions.setdefault(symbol, _Pair())
            pair.add(now_ns, vitals.positions.get(symbol, 0), expected)
            if not pair.met(now_ns):
                breaks.append(
                    f"position {symbol}: trader {format_units(vitals.positions.get(symbol, 0))}, drop copy {format_units(expected)}"
                )
        return tuple(breaks)
