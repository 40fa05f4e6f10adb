"""Exact error rates of the count test: not simulated but summed over all ways in which events can fall to canary and control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tradeops.gates.stats import RatioEvidence

SHARE = 1 / 8
"""One canary of eight hosts."""


def share_at(ratio: float, share: float = SHARE) -> float:
    """The chance that an event is the canary's."""
    return ratio * share / (1 + share * (ratio - 1))


def fail_bounds(events: int, *, alpha: float, share: float = SHARE) -> list[int]:
    """For n = 0..events: the fewest canary events of n with which a canary fails, looking after every event."""
    nothing, bounds = RatioEvidence(), [1]
    for n in range(1, events + 1):
        canary = max(1, bounds[-1])
        while canary <= n and not _fails(nothing, canary, n, share, alpha):
            canary += 1
        bounds.append(canary)
    return bounds


def _fails(nothing: RatioEvidence, canary: int, n: int, share: float, alpha: float) -> bool:
    evidence = nothing.copy()
    evidence.add_pair(canary, n - canary, share)
    return evidence.log_above(1.0) >= -math.log(alpha)


def pass_bounds(events: int, *, margin: float, beta: float = 0.05, share: float = SHARE) -> list[int]:
    """For n = 0..events: the most canary events of n with which it passes; -1: with none."""
    nothing, bounds = RatioEvidence((margin,)), [-1]
    for n in range(1, events + 1):
        canary = bounds[-1]
        while _passes(nothing, canary + 1, n, share, margin, beta):
            canary += 1
        bounds.append(canary)
    return bounds


def _passes(nothing: RatioEvidence, canary: int, n: int, share: float, margin: float, beta: float) -> bool:
    evidence = nothing.copy()
    evidence.add_pair(canary, n - canary, share)
    return evidence.log_below(margin) >= -math.log(beta)


@dataclass(frozen=True)
class Stops:
    """When a test that looks after every event comes to its end. by: chance to have ended by n events."""

    by: Sequence[float]

    @property
    def ever(self) -> float:
        """Within all the events."""
        return self.by[-1]

    @property
    def median(self) -> int | None:
        """Events after which half of all have ended."""
        return next((n for n, chance in enumerate(self.by) if chance >= 0.5), None)


def stops(bounds: Sequence[int], ratio: float, *, fail: bool, share: float = SHARE) -> Stops:
    """Over all paths of events at a true rate ratio: those that reach `bounds` from below (fail), or from above."""
    chance = share_at(ratio, share)
    alive, ended, by = [1.0], 0.0, [0.0]
    for bound in bounds[1:]:
        moved = [here * (1 - chance) for here in alive] + [0.0]
        for canary, here in enumerate(alive):
            moved[canary + 1] += here * chance
        end = slice(bound, None) if fail else slice(0, bound + 1)
        ended += sum(moved[end])
        alive = moved[:bound] if fail else [0.0] * (bound + 1) + moved[bound + 1 :]
        by.append(ended)
    return Stops(by)
