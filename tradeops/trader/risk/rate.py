"""Messages in any one second: a sliding window, so that a burst across a second's edge is one burst (R07)."""

from __future__ import annotations

from collections import deque

from tradeops.base.clock import NS_PER_S


class MessageRate:
    """Counts new orders and cancels. Nothing here refuses: a cancel is counted and always passes."""

    def __init__(self) -> None:
        self._times_ns: deque[int] = deque()

    def add(self, now_ns: int) -> None:
        """One message left."""
        self._times_ns.append(now_ns)

    def in_last_second(self, now_ns: int) -> int:
        """How many left in the second up to now."""
        times = self._times_ns
        while times and times[0] <= now_ns - NS_PER_S:
            times.popleft()
        return len(times)
