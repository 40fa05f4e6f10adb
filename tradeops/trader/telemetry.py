"""What the trader says about itself: counters, gauges, histograms, and the vitals page, written by the hot loop itself."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from typing import Final

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.metrics import LATENCY_UPPER_S, Counter, Latency
from tradeops.contracts.status import Histogram

WARNINGS_MAX: Final = 50
_UPPER_NS: Final = tuple(round(edge * NS_PER_S) for edge in LATENCY_UPPER_S)
_START_TICKS: Final = 19
"""Position of field 22 of /proc/PID/stat behind the command's closing bracket."""


class LatencyHistogram:
    """Durations counted by bucket."""

    def __init__(self) -> None:
        self._counts = [0] * (len(LATENCY_UPPER_S) + 1)
        self._sum_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count one."""
        self._counts[bisect_left(_UPPER_NS, duration_ns)] += 1
        self._sum_ns += duration_ns

    def read(self) -> Histogram:
        """As it is exported."""
        return Histogram(LATENCY_UPPER_S, tuple(self._counts), self._sum_ns / NS_PER_S)


class Telemetry:
    """Counters and histograms since start, and the warnings of D17: few, distinct, never forgotten."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {counter.value: 0 for counter in Counter}
        self._latencies = {latency: LatencyHistogram() for latency in Latency}
        self._warnings: dict[str, None] = {}

    def count(self, name: str, by: int = 1) -> None:
        """Raise a counter."""
        self.counters[name] = self.counters.get(name, 0) + by

    def measure(self, latency: Latency, duration_ns: int) -> None:
        """Count a duration."""
        self._latencies[latency].add(duration_ns)

    def warn(self, text: str) -> bool:
        """Remember a warning; False: it was there already, or there are too many to keep."""
        if text in self._warnings or len(self._warnings) >= WARNINGS_MAX:
            return False
        self._warnings[text] = None
        return True

    @property
    def warnings(self) -> tuple[str, ...]:
        """All of them, in order."""
        return tuple(self._warnings)

    def histograms(self) -> dict[str, Histogram]:
        """All of them, as exported."""
        return {latency.value: histogram.read() for latency, histogram in self._latencies.items()}


def start_ticks(stat_file: Path = Path("/proc/self/stat")) -> int:
    """When this process started, in ticks since boot: with its pid, its identity on the host. Raises OSError."""
    return int(stat_file.read_text().rpartition(")")[2].split()[_START_TICKS])
