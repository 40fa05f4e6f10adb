"""How far a feed's clock is from ours, estimated from the data itself.

local - exchange = offset + transit, and transit is never negative: the smallest difference seen lately is the offset plus
the fastest transit. What a message took beyond that is its age. A naive "younger than a second" fails where clocks differ.
"""

from __future__ import annotations

from collections import deque
from typing import Final

FUTURE_CONFIRM: Final = 50
"""So many messages in a row from the "future" mean that a clock was set; fewer are bad data."""


class FeedOffset:
    """A sliding minimum of local - exchange over `window_ns`, by local time."""

    def __init__(self, *, window_ns: int, samples_min: int, step_max_ns: int) -> None:
        """samples_min: before so many, no age is known.  step_max_ns: an earlier clock by more than this is suspect."""
        self.step_max_ns = step_max_ns
        self._window_ns = window_ns
        self._samples_min = samples_min
        self._minima: deque[tuple[int, int]] = deque()
        self._samples = 0
        self._suspects = 0

    def known(self) -> bool:
        """Whether enough was seen to speak of ages."""
        return self._samples >= self._samples_min

    @property
    def offset_ns(self) -> int:
        """local - exchange of the fastest message in the window; 0 before the first."""
        return self._minima[0][1] if self._minima else 0

    def add(self, local_ns: int, exchange_ns: int) -> bool:
        """Take in one message's two times. False: it claims to be from the future, and is not believed."""
        difference = local_ns - exchange_ns
        minima = self._minima
        if minima and difference < minima[0][1] - self.step_max_ns and not self._clock_was_set():
            return False
        self._suspects = 0
        self._samples += 1
        while minima and minima[-1][1] >= difference:
            minima.pop()
        minima.append((local_ns, difference))
        while minima[0][0] < local_ns - self._window_ns:
            minima.popleft()
        return True

    def age_ns(self, now_ns: int, exchange_ns: int) -> int:
        """How old a message is now, beyond the fastest transit."""
        return now_ns - exchange_ns - self.offset_ns

    def _clock_was_set(self) -> bool:
        self._suspects += 1
        if self._suspects < FUTURE_CONFIRM:
            return False
        self._minima.clear()
        self._samples = 0
        return True
