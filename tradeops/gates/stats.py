"""What counts say about a rate ratio, in numbers that may be looked at at any time. Pure functions and one running sum.

For events that come at rates a (canary) and b (reference), the likelihood of their ratio r = a/b is kept on a grid of
ratios. An *e-value* against "r is at most r0" is the likelihood averaged over the ratios above r0, over that of r0. By
Ville's inequality it ever reaches 1/α with a chance of at most α, however often one looks, for every r up to r0: each
factor has an expectation of at most one there. Any weights hold this promise; ours are the Beta(½, 3½) prior of Lindon
and Malek for one host of eight, cut off at r0, on the grid.

Sources: M. Lindon, A. Malek, Anytime-Valid Inference for Multinomial Count Data, NeurIPS 2022, arXiv 2011.03567 (the
mixture, truncated); J. Ville, Étude critique de la notion de collectif, 1939 (the inequality). On a grid, for the share of
the canary may differ from one second to the next, which the closed form does not allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import copy
from itertools import accumulate
from operator import add
from typing import Final

RATIO_MAX: Final = 64.0
"""The grid goes from 1/RATIO_MAX to RATIO_MAX; what is further off counts as that far."""
_STEP: Final = 0.1
_STEPS: Final = int(math.log(RATIO_MAX) / _STEP)
_PRIOR_SHARE: Final = 1 / 8
_PRIOR_CANARY: Final = 0.5
_PRIOR_OTHER: Final = 3.5
_NEVER: Final = 1e12
BURST_CHANCE: Final = 1e-6
"""A count that the past makes less likely than this is a burst."""
BURST_EVENTS_MIN: Final = 10


class RatioEvidence:
    """The log-likelihood of a rate ratio, up to a constant, on the grid, which has 1, and at further `nulls`: ratios asked about
    exactly.
    """

    def __init__(self, nulls: Iterable[float] = ()) -> None:
        self._ratios = sorted({math.exp(step * _STEP) for step in range(-_STEPS, _STEPS + 1)} | set(nulls))
        self._logs = [math.log(ratio) for ratio in self._ratios]
        self._weights = [_log_weight(ratio) for ratio in self._ratios]
        masses = list(map(math.exp, self._weights))
        self._below = [0.0, *accumulate(masses)][:-1]
        self._above = [0.0, *accumulate(masses[::-1])][-2::-1]
        self._pairs = [0.0] * len(self._ratios)
        self._events = 0.0
        self._expected = 0.0

    def add_pair(self, canary: float, control: float, share: float) -> None:
        """Events of both arms in a time in which the canary had `share` of the exposure; 0 or 1 tells nothing about a ratio.

        Given that an event happened, it is the canary's with chance r·share / (1 + share·(r − 1)).
        """
        if 0 < share < 1 and canary + control > 0:
            both = canary + control
            self._events += canary
            self._pairs = [so_far - both * math.log1p(share * (ratio - 1)) for so_far, ratio in zip(self._pairs, self._ratios, strict=True)]

    def add_count(self, events: float, expected: float) -> None:
        """Events of the canary where a reference rate expects `expected`: Poisson, which also bounds what happens at most once
        per exposure.
        """
        self._events += events
        self._expected += expected

    def copy(self) -> RatioEvidence:
        """Another with the same evidence, to look ahead with."""
        return copy(self)

    def log_above(self, null: float) -> float:
        """ln of the e-value against "the ratio is at most `null`", which is on the grid."""
        return self._log_e(self._ratios.index(null), above=True)

    def log_below(self, null: float) -> float:
        """ln of the e-value against "the ratio is at least `null`", which is on the grid."""
        return self._log_e(self._ratios.index(null), above=False)

    def low(self, alpha: float) -> float:
        """The lower end of the confidence sequence of level 1 − `alpha`, rounded outwards to the grid; 0 when there is none."""
        return self._end(alpha, -1, 0.0)

    def high(self, alpha: float) -> float:
        """The upper end of the confidence sequence of level 1 − `alpha`, rounded outwards to the grid; infinite when there is none."""
        return self._end(alpha, 1, math.inf)

    def _end(self, alpha: float, towards: int, none: float) -> float:
        """The last ratio ruled out when coming from the far end of that direction: those before it are ruled out too."""
        likelihoods = list(map(self._likelihood, self._ratios, self._logs, self._pairs))[::towards]
        weights, ratios = self._weights[::towards], self._ratios[::towards]
        # A term too small to be a float is far from the likeliest ratio, and adds nothing to any null that could be ruled out.
        top = max(likelihoods)
        masses = list(accumulate(math.exp(weight + likelihood - top) for weight, likelihood in zip(weights, likelihoods, strict=True)))
        norms = self._below if towards > 0 else self._above[::-1]
        end = none
        for null in range(1, len(ratios))[::-1]:
            average = masses[null - 1] / norms[null]
            if average <= 0 or math.log(average) + top - likelihoods[null] < -math.log(alpha):
                break
            end = ratios[null]
        return end

    def _log_e(self, null: int, *, above: bool) -> float:
        """ln of the likelihood averaged over the ratios on one side of the null, over that of the null."""
        side, mass = (slice(null + 1, None), self._above[null]) if above else (slice(0, null), self._below[null])
        likelihoods = map(self._likelihood, self._ratios[side], self._logs[side], self._pairs[side])
        at_null = self._likelihood(self._ratios[null], self._logs[null], self._pairs[null])
        terms: list[float] = list(map(add, self._weights[side], likelihoods))
        top = max(terms)
        total: float = sum(math.exp(term - top) for term in terms)
        return top + math.log(total / mass) - at_null

    def _likelihood(self, ratio: float, log: float, pair: float) -> float:
        return self._events * log - self._expected * (ratio - 1) + pair


def _log_weight(ratio: float) -> float:
    share = ratio * _PRIOR_SHARE / (1 + _PRIOR_SHARE * (ratio - 1))
    return _PRIOR_CANARY * math.log(share) + _PRIOR_OTHER * math.log(1 - share)


def more_needed(reached: Callable[[float], bool]) -> float | None:
    """The least amount for which `reached` holds, to one part in a thousand, when it holds for all greater; None: never."""
    if reached(0.0):
        return 0.0
    high = 1.0
    while not reached(high):
        high *= 2
        if high > _NEVER:
            return None
    low = high / 2
    while high - low > high / 1000:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def poisson_tail(events: float, mean: float) -> float:
    """The chance of `events` or more where `mean` are expected. Exact, summed from the top of the tail's largest term."""
    if events <= mean:
        return 1.0
    if mean <= 0:
        return 0.0
    term = math.exp(events * math.log(mean) - mean - math.lgamma(events + 1))
    total, at = 0.0, events
    while term > total * 1e-12:
        total += term
        at += 1
        term *= mean / at
    return min(1.0, total)


def is_burst(events: float, mean: float) -> bool:
    """Whether `events` are too many to have come one by one at the rate that makes `mean` the expectation."""
    return events >= BURST_EVENTS_MIN and poisson_tail(events, mean) < BURST_CHANCE
