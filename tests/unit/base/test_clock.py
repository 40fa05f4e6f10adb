"""Clocks."""

from __future__ import annotations

import time

from tradeops.base.clock import NS_PER_S, SystemClock, VirtualClock


def test_a_virtual_clock_moves_only_when_told() -> None:
    """Sleeping advances both readings by the same amount; a negative sleep does nothing."""
    clock = VirtualClock(wall_ns=100 * NS_PER_S, monotonic_ns=7)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (100 * NS_PER_S, 7)
    clock.sleep_s(1.5)
    clock.sleep_s(-3)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (101_500_000_000, 1_500_000_007)


def test_a_virtual_clock_goes_back_for_work_side_by_side() -> None:
    """Rewinding takes wall time back by as much as monotonic time."""
    clock = VirtualClock(wall_ns=50, monotonic_ns=10)
    clock.advance_ns(30)
    clock.rewind_to_ns(10)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (50, 10)


def test_the_system_clock_is_the_machines_own_with_an_offset() -> None:
    """The lab skews wall time alone; durations stay true."""
    skewed, true = SystemClock(offset_ns=3600 * NS_PER_S), SystemClock()
    assert 3599 * NS_PER_S < skewed.wall_ns() - true.wall_ns() < 3601 * NS_PER_S
    before = time.monotonic_ns()
    skewed.sleep_s(0.001)
    skewed.sleep_s(-1)
    assert before + 1_000_000 <= skewed.monotonic_ns() <= time.monotonic_ns()
