"""Waiting for real processes: on a condition, with a deadline, never for a length of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tradeops.base.clock import NS_PER_S, Clock, SystemClock

T = TypeVar("T")


def until(predicate: Callable[[], T], timeout_s: float, interval: float = 0.02, *, clock: Clock | None = None) -> T:
    """The first true value of `predicate`, asked every `interval` seconds. Raises AssertionError after `timeout_s`."""
    clock = clock or SystemClock()
    deadline_ns = clock.monotonic_ns() + int(timeout_s * NS_PER_S)
    while True:
        if value := predicate():
            return value
        if clock.monotonic_ns() >= deadline_ns:
            raise AssertionError(f"not within {timeout_s} s: {getattr(predicate, '__name__', predicate)}; last value {value!r}")
        clock.sleep_s(interval)
