"""Rounds of a measurement: taken in turn with its peer, so that a machine that slows down slows both."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping

from tradeops.base.clock import NS_PER_S, SystemClock

CLOCK = SystemClock()


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began_ns = CLOCK.monotonic_ns()
    work()
    return (CLOCK.monotonic_ns() - began_ns) / NS_PER_S


def in_turn(works: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each work once a round; seconds by name."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return found


def tell(name: str, seconds: list[float]) -> None:
    """One line: least, median, most."""
    low, mid, high = min(seconds), statistics.median(seconds), max(seconds)
    sys.stdout.write(f"{name:<58} {low:7.3f} {mid:7.3f} {high:7.3f} s  ({len(seconds)} rounds: least, median, most)\n")
    sys.stdout.flush()


def ratio(name: str, ours: list[float], theirs: list[float]) -> None:
    """How many times faster ours is, by medians."""
    sys.stdout.write(f"{name:<58} {statistics.median(theirs) / statistics.median(ours):7.1f} times\n")
    sys.stdout.flush()
