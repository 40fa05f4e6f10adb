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
UNANSWERED_NS: Final = 30 * NS_PER_S
"""How long orders may differ of which the trader still awaits the venue's answer (ours)."""
BEATS_MIN: Final = 5
"""Fewer beats than that are too few to call it a break (ours; a trader says ten a second)."""
FRESH_NS: Final = NS_PER_S
"""Vitals older than this are not compared."""
LEARNING_NS: Final = 5 * NS_PER_S
"""How long it takes at least to learn what the trader held before; positions cannot be compared meanwhile (ours)."""
_APART_KEPT_MAX: Final = 64
_SETTLED: Final = frozenset({"ready", "halted"})


class _Held:
    """What the trader held when the drop copy was first watched: a span, since a fill in between may show on one side alone.

    Each beat narrows it; one quiet moment makes it exact. While it is learned, a beat that contradicts it begins it anew:
    one of the two was seen too rarely to be believed.
    """

    def __init__(self, began_ns: int) -> None:
        self._began_ns = began_ns
        self.span: tuple[int, int] | None = None

    def learn(self, now_ns: int, low: int, high: int) -> None:
        """By one beat it lies between `low` and `high`."""
        if self.span is not None:
            narrowed = max(low, self.span[0]), min(high, self.span[1])
            if narrowed[0] <= narrowed[1]:
                low, high = narrowed
            elif not self._learning(now_ns):
                return
        self.span = (low, high)

    def known(self, now_ns: int) -> bool:
        """Whether it may be relied on."""
        return self.span is not None and not self._learning(now_ns)

    def _learning(self, now_ns: int) -> bool:
        return now_ns - self._began_ns < LEARNING_NS


class _Pair:
    """Two series that must meet: what the trader said at each of its beats, and what the drop copy has shown around it.

    A trader that takes all its orders back and places them anew once a second shows a square wave; a guard or a trader that
    is short of processor time sees few points of it. So a beat is held against all that the drop copy showed from a moment
    before it until now, and only when no beat of a whole window has met anything is it a break.
    """

    def __init__(self, began_ns: int, held: _Held | None = None, window_ns: int = WINDOW_NS) -> None:
        """held: what the trader has besides what the drop copy shows; None: nothing."""
        self._began_ns = began_ns
        self._window_ns = window_ns
        self._held = held
        self._young: deque[tuple[int, int]] = deque(maxlen=_APART_KEPT_MAX)
        self._apart: deque[tuple[int, int, int]] = deque(maxlen=_APART_KEPT_MAX)
        self._apart_since_ns = 0
        self._shown: deque[tuple[int, int]] = deque()

    def add(self, now_ns: int, beat_ns: int, said: int, shown: int, open_points: int = 0) -> None:
        """said: by the trader at `beat_ns`, of which it does not claim to know `open_points`.  shown: by the drop copy now."""
        self._shown.append((now_ns, shown))
        while self._shown[0][0] <= now_ns - WINDOW_NS - FRESH_NS:
            self._shown.popleft()
        if self._held is not None:
            self._learn(self._held, now_ns, beat_ns, said)
        if not self._apart:
            self._apart_since_ns = beat_ns
        if not self._apart or beat_ns > self._apart[-1][0]:
            self._apart.append((beat_ns, said - open_points, said))
        if any(self._meets(*beat) for beat in self._apart):
            self._apart.clear()

    def met(self, now_ns: int) -> bool:
        """Whether a beat has met the drop copy within the window; too few beats to say counts as yes."""
        if self._held is not None and not self._held.known(now_ns):
            return True
        return len(self._apart) < BEATS_MIN or now_ns - self._apart_since_ns < self._window_ns

    def expected(self, shown: int) -> str:
        """What the trader should have, in words."""
        low, high = (shown + held for held in self._span())
        return format_units(low) if low == high else f"{format_units(low)} to {format_units(high)}"

    def _learn(self, held: _Held, now_ns: int, beat_ns: int, said: int) -> None:
        """By the beats that are old enough for the drop copy to have shown all that they knew, and young enough to have been watched."""
        if not self._young or beat_ns > self._young[-1][0]:
            self._young.append((beat_ns, said))
        while self._young and now_ns - self._young[0][0] >= FRESH_NS:
            at_ns, told = self._young.popleft()
            if at_ns - FRESH_NS >= self._began_ns:
                around = self._around(at_ns)
                held.learn(now_ns, told - max(around), told - min(around))

    def _meets(self, beat_ns: int, least: int, most: int) -> bool:
        around, (low, high) = self._around(beat_ns), self._span()
        return min(around) + low <= most and least <= max(around) + high

    def _around(self, beat_ns: int) -> list[int]:
        return [value for at_ns, value in self._shown if at_ns >= beat_ns - FRESH_NS]

    def _span(self) -> tuple[int, int]:
        return (self._held.span if self._held else None) or (0, 0)


class _Working:
    """Working orders. Of a new one, or one being cancelled, a trader does not claim to know whether it works, for a while: a venue may
    be slow to answer.
    """

    def __init__(self, began_ns: int) -> None:
        self._known = _Pair(began_ns)
        self._all = _Pair(began_ns, window_ns=UNANSWERED_NS)

    def breaks(self, now_ns: int, vitals: Vitals, shown: int) -> list[str]:
        """What has not met for too long."""
        self._known.add(now_ns, vitals.beat_ns, vitals.working, shown, vitals.unanswered)
        self._all.add(now_ns, vitals.beat_ns, vitals.working, shown)
        if self._known.met(now_ns) and self._all.met(now_ns):
            return []
        unanswered = f", {vitals.unanswered} of them unanswered" if vitals.unanswered else ""
        return [f"working orders: trader {vitals.working}{unanswered}, drop copy {shown}"]


class Reconciler:
    """Compares working orders, and positions since both were first seen together, again when a venue lost its memory."""

    def __init__(self) -> None:
        self._working: _Working | None = None
        self._positions: dict[str, _Pair] = {}
        self._held: dict[str, _Held] = {}
        self._memory: object = None
        self.learning: tuple[str, ...] = ()
        """Symbols whose positions cannot be compared yet: nothing is known of them, so nothing new may be permitted."""

    def measure(
        self, vitals: Vitals | None, filled: Mapping[str, int], working: int | None, memory: object, now_ns: int
    ) -> tuple[str, ...]:
        """The breaks that are open, each with both values. Nothing is compared while either side is not there.

        A trader that has not said anything for a moment is the watchdog's matter: its books are old, not wrong.
        """
        if vitals is None or working is None or vitals.state not in _SETTLED:
            self._working, self._positions = None, {}
            return ()
        if now_ns - vitals.beat_ns > FRESH_NS:
            return ()
        if memory != self._memory:
            self._memory, self._positions = memory, {}
            self._held = {symbol: _Held(now_ns) for symbol in {*vitals.positions, *filled}}
        if self._working is None:
            self._working = _Working(now_ns)
        breaks = self._working.breaks(now_ns, vitals, working)
        for symbol in sorted({*vitals.positions, *filled}):
            said, shown = vitals.positions.get(symbol, 0), filled.get(symbol, 0)
            if symbol not in self._positions:
                self._positions[symbol] = _Pair(now_ns, self._held.get(symbol))
            pair = self._positions[symbol]
            pair.add(now_ns, vitals.beat_ns, said, shown)
            if not pair.met(now_ns):
                breaks.append(f"position {symbol}: trader {format_units(said)}, drop copy {pair.expected(shown)}")
        self.learning = tuple(symbol for symbol, held in sorted(self._held.items()) if not held.known(now_ns))
        return tuple(breaks)
