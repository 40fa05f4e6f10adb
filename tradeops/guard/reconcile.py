"""The trader's books against the drop copy: what does not meet within a few seconds is a break (R14). Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.status import Vitals
from tradeops.contracts.units import format_units

WINDOW_NS: Final = 3 * NS_PER_S
"""How far the two may be apart in time."""
BEATS_MIN: Final = 5
"""Fewer beats than that are too few to call it a break (ours; a trader says ten a second)."""
FRESH_NS: Final = NS_PER_S
"""Vitals older than this are not compared."""
_APART_KEPT_MAX: Final = 64
_SETTLED: Final = frozenset({"ready", "halted"})


class _Pair:
    """Two series that must meet: what the trader said at each of its beats, and what the drop copy has shown around it.

    A trader that takes all its orders back and places them anew once a second shows a square wave; a guard or a trader that
    is short of processor time sees few points of it. So a beat is held against all that the drop copy showed from a moment
    before it until now, and only when no beat of a whole window has met anything is it a break.
    """

    def __init__(self) -> None:
        self._apart: deque[tuple[int, int]] = deque(maxlen=_APART_KEPT_MAX)
        self._apart_since_ns = 0
        self._shown: deque[tuple[int, int]] = deque()

    def add(self, now_ns: int, beat_ns: int, said: int, shown: int) -> None:
        """said: by the trader at `beat_ns`.  shown: by the drop copy now."""
        self._shown.append((now_ns, shown))
        while self._shown[0][0] <= now_ns - WINDOW_NS - FRESH_NS:
            self._shown.popleft()
        if not self._apart:
            self._apart_since_ns = beat_ns
        if not self._apart or beat_ns > self._apart[-1][0]:
            self._apart.append((beat_ns, said))
        if any(self._meets(*beat) for beat in self._apart):
            self._apart.clear()

    def met(self, now_ns: int) -> bool:
        """Whether a beat has met the drop copy within the window; too few beats to say counts as yes."""
        return len(self._apart) < BEATS_MIN or now_ns - self._apart_since_ns < WINDOW_NS

    def _meets(self, beat_ns: int, said: int) -> bool:
        shown = [value for at_ns, value in self._shown if at_ns >= beat_ns - FRESH_NS]
        return min(shown) <= said <= max(shown)


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
        self._working.add(now_ns, vitals.beat_ns, vitals.working, working)
        breaks = [] if self._working.met(now_ns) else [f"working orders: trader {vitals.working}, drop copy {working}"]
        for symbol in sorted({*vitals.positions, *filled}):
            expected = filled.get(symbol, 0) + self._offset.get(symbol, 0)
            pair = self._positions.setdefault(symbol, _Pair())
            pair.add(now_ns, vitals.beat_ns, vitals.positions.get(symbol, 0), expected)
            if not pair.met(now_ns):
                breaks.append(
                    f"position {symbol}: trader {format_units(vitals.positions.get(symbol, 0))}, drop copy {format_units(expected)}"
                )
        return tuple(breaks)
