"""The agent's only reader of clocks (it cannot import base/clock.py)."""

from __future__ import annotations

import time
from pathlib import Path

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock:
    """The host's clocks; `offset_ns` skews wall time in the lab, 0 on real hosts."""

    def __init__(self, offset_ns: int = 0) -> None:
        self._offset_ns = offset_ns

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""
        return time.time_ns() + self._offset_ns

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC: shared by all processes of the host, worth nothing after a reboot."""
        return time.monotonic_ns()

    def since_boot_ns(self) -> int:
        """CLOCK_BOOTTIME: what start ticks in /proc are counted in."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def sleep_s(self, seconds: float) -> None:
        """Let `seconds` pass."""
        time.sleep(max(0.0, seconds))

    def deadline(self, seconds: float) -> Deadline:
        """A point in time `seconds` from now."""
        return Deadline(self, seconds)


class Deadline:
    """Ends some seconds after it was made."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end_ns = clock.monotonic_ns() + int(seconds * NS_PER_S)

    def left_s(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, (self._end_ns - self._clock.monotonic_ns()) / NS_PER_S)

    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left_s() <= 0.0


def boot_id() -> str:
    """Differs after every boot: a monotonic reading of another boot is worth nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
