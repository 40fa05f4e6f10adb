"""The only place that reads a clock. All else is handed a Clock or a `now`."""

from __future__ import annotations

import threading
import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


def utc(wall_ns: int) -> str:
    """A moment in UTC for a person, to the second."""
    from datetime import UTC, datetime  # by who says one alone: all else loads without it

    return datetime.fromtimestamp(wall_ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")


class Clock(Protocol):
    """Two readings and one way to wait. Durations use monotonic time, records use wall time."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC: shared by all processes of one host, reset by a reboot."""

    def sleep_s(self, seconds: float) -> None:
        """Let `seconds` pass."""


class SystemClock:
    """The machine's own clock; `offset_ns` is added to wall time (the lab skews hosts with it, O11)."""

    def __init__(self, offset_ns: int = 0) -> None:
        self._offset_ns = offset_ns

    def wall_ns(self) -> int:
        return time.time_ns() + self._offset_ns

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_s(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class VirtualClock:
    """A clock that is a value: sleeping moves it, nothing else does."""

    def __init__(self, wall_ns: int = 1_700_000_000 * NS_PER_S, monotonic_ns: int = NS_PER_S) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()

    def wall_ns(self) -> int:
        return self._wall_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def sleep_s(self, seconds: float) -> None:
        self.advance_ns(max(0, int(seconds * NS_PER_S)))

    def advance_ns(self, by_ns: int) -> None:
        """Move both readings forward by `by_ns` nanoseconds."""
        with self._lock:
            self._wall_ns += by_ns
            self._monotonic_ns += by_ns

    def rewind_to_ns(self, monotonic_ns: int) -> None:
        """Take both readings back to `monotonic_ns`: how a simulation runs side-by-side work one after the other."""
        with self._lock:
            self._wall_ns += monotonic_ns - self._monotonic_ns
            self._monotonic_ns = monotonic_ns
