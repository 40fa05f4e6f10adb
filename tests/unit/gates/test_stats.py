"""The count test against its closed form, the figures it was chosen by, and its error rates: exact, and in seeded worlds."""

from __future__ import annotations

import math
import operator
import random
from itertools import accumulate

import pytest

from tests.support.gatestats import fail_bounds, pass_bounds, share_at, stops
from tradeops.gates.stats import RATIO_MAX, RatioEvidence, is_burst, more_needed, poisson_tail

EIGHTH = 1 / 8

# ln of the e-value in its closed form, for the prior Beta(½, 3½) cut off at the null, by mpmath's incomplete beta function.
CLOSED_ABOVE_1 = {
    (0, 10): -1.1328856,
    (4, 4): 4.5118846,
    (9, 21): 4.8245838,
    (15, 46): 5.1823499,
    (32, 140): 4.4393853,
    (200, 1500): -1.8224883,
    (6, 6): 7.604781,
}
CLOSED_BELOW_2 = {(18, 144): 2.7492442, (10, 144): 10.847056, (40, 144): -3.6680221, (0, 20): 4.2666579, (6, 48): 0.26254549}


def seen(canary: float, both: float, *nulls: float, share: float = EIGHTH) -> RatioEvidence:
    evidence = RatioEvidence(nulls)
    evidence.add_pair(canary, both - canary, share)
    return evidence


def test_the_grid_agrees_with_the_closed_form() -> None:
    """Lindon and Malek's mixture, by another program: within about a third of a unit of ln E, which is weight and not validity."""
    for (canary, both), log_e in CLOSED_ABOVE_1.items():
        assert seen(canary, both).log_above(1.0) == pytest.approx(log_e, abs=0.35)
    for (canary, both), log_e in CLOSED_BELOW_2.items():
        assert seen(canary, both, 2.0).log_below(2.0) == pytest.approx(log_e, abs=0.35)


@pytest.mark.parametrize(("ratio", "both", "canary"), [(2, 140, 32), (3, 46, 15), (5, 21, 9), (10, 10, 6)])
def test_events_until_a_worse_canary_fails(ratio: float, both: int, canary: int) -> None:
    """Median over all paths, at alpha 1 %, one host of eight."""
    median = stops(fail_bounds(400, alpha=0.01), ratio, fail=True).median
    assert median == pytest.approx(both, rel=0.1, abs=1)
    assert median is not None and median * share_at(ratio) == pytest.approx(canary, rel=0.1, abs=1)


def test_a_canary_no_worse_hardly_ever_fails() -> None:
    """Looking after each of 1,500 events: about half of the nominal 1 %; and less where it is better."""
    bounds = fail_bounds(1500, alpha=0.01)
    assert 0.003 < stops(bounds, 1.0, fail=True).ever < 0.007
    assert stops(bounds, 0.8, fail=True).ever < 0.001


@pytest.mark.parametrize(("margin", "both"), [(5.0, 24), (3.0, 48), (2.0, 144), (1.5, 504)])
def test_events_until_a_canary_no_worse_passes(margin: float, both: int) -> None:
    """Non-inferiority at 95 %, every eighth event on the canary, half of the paths sooner.

    A canary that is worse by the whole margin passes in fewer than 5 of 100.
    """
    bounds = pass_bounds(2 * both, margin=margin)
    even = next(n for n in range(8, 2 * both, 8) if n // 8 <= bounds[n])
    assert even == pytest.approx(both, rel=0.2)
    assert (stops(bounds, 1.0, fail=False).median or math.inf) <= even
    assert stops(bounds, margin, fail=False).ever < 0.05


def test_the_promise_holds_where_the_share_of_the_canary_changes() -> None:
    """A flow cap is lifted while errors become rarer: second by second the canary fails no more often than promised; judged by its
    share of the whole, a canary that is no worse would.
    """
    world = random.Random(3)
    failed = falsely = 0
    for _ in range(100):
        evidence, canary, both, exposure = RatioEvidence(), 0, 0, 0.0
        for share, rate in ((0.5, 6.0),) * 12 + ((0.05, 0.6),) * 12:
            events = _poisson(world, rate)
            own = sum(world.random() < share for _ in range(events))
            evidence.add_pair(own, events - own, share)
            canary, both, exposure = canary + own, both + events, exposure + share
        failed += evidence.log_above(1.0) >= math.log(100)
        falsely += seen(canary, both, share=exposure / 24).log_above(1.0) >= math.log(100)
    assert failed <= 2
    assert falsely > 50


def _poisson(world: random.Random, mean: float) -> int:
    events, left = 0, math.exp(-mean)
    product = world.random()
    while product > left:
        events, product = events + 1, product * world.random()
    return events


def test_rates_are_bounded_at_any_time() -> None:
    """None in n: one look at the end needs 2,995 for 0.1 % at 95 %, any look a third more; what is over the limit fails."""
    assert math.ceil(math.log(0.05) / math.log(1 - 0.001)) == 2995

    def under(exposure: float) -> bool:
        evidence = RatioEvidence()
        evidence.add_count(0, 0.001 * exposure)
        return evidence.log_below(1.0) >= math.log(20)

    needed = more_needed(under)
    assert needed == pytest.approx(4000, rel=0.1)
    assert not under(2995)
    evidence = RatioEvidence()
    evidence.add_count(30, 10)
    assert evidence.log_above(1.0) > math.log(100)


@pytest.mark.parametrize(("confidence", "samples"), [(0.95, 299), (0.99, 459)])
def test_a_p99_is_never_bounded_by_fewer_samples_than_can_bound_it(confidence: float, samples: int) -> None:
    """None over the limit in n bounds the share over it by 1 % only from n = 299 (95 %) or 459 (99 %) on."""
    assert math.ceil(math.log(1 - confidence) / math.log(0.99)) == samples
    evidence = RatioEvidence()
    evidence.add_count(0, 0.01 * samples)
    assert evidence.log_below(1.0) < -math.log(1 - confidence)


def test_false_verdicts_of_rates_in_seeded_worlds() -> None:
    """Events at exactly the limit, looked at after each of 100 rounds in 4,000 worlds: at most 1 % fail, at most 5 % pass."""
    world = random.Random(11)

    def log_e(events: int, expected: int, *, above: bool) -> float:
        evidence = RatioEvidence()
        evidence.add_count(events, expected)
        return evidence.log_above(1.0) if above else evidence.log_below(1.0)

    rounds = range(1, 101)
    fails_from = [next(k for k in range(at, 9 * at + 99) if log_e(k, at, above=True) >= math.log(100)) for at in rounds]
    passes_to = [next((k for k in range(at, -1, -1) if log_e(k, at, above=False) >= math.log(20)), -1) for at in rounds]
    fails = passes = 0
    for _ in range(4000):
        sums = list(accumulate(_poisson(world, 1.0) for _ in rounds))
        fails += any(map(operator.ge, sums, fails_from))
        passes += any(map(operator.le, sums, passes_to))
    assert 0.001 < fails / 4000 < 0.01
    assert 0.01 < passes / 4000 < 0.05


def test_the_confidence_sequence_holds_the_truth_and_narrows() -> None:
    """Ends are nulls ruled out; without events there are none."""
    nothing = RatioEvidence()
    assert (nothing.low(0.05), nothing.high(0.05)) == (0.0, math.inf)
    some, many = seen(40, 200), seen(400, 2000)
    truth = 40 / 160 * 7
    assert 0.5 < some.low(0.05) < many.low(0.05) < truth < many.high(0.05) < some.high(0.05) < 4
    assert many.log_above(1.0) > math.log(20)
    assert seen(60, 60).high(0.05) == math.inf
    assert seen(0, 900).low(0.05) == 0.0
    assert 1 / RATIO_MAX < seen(0, 900).high(0.05) < 0.1


def test_a_share_of_nothing_or_all_says_nothing_about_a_ratio() -> None:
    """There is nobody to compare with."""
    for share in (0.0, 1.0):
        assert seen(5, 5, share=share).log_above(1.0) == pytest.approx(0.0, abs=1e-9)


def test_a_burst_is_what_the_past_makes_all_but_impossible() -> None:
    """Ten at least; by the Poisson tail, summed exactly."""
    assert poisson_tail(0, 0.0) == 1.0
    assert poisson_tail(1, 0.0) == 0.0
    assert poisson_tail(2, 1.0) == pytest.approx(1 - 2 / math.e)
    assert poisson_tail(500, 1.0) < 1e-300
    assert is_burst(500, 3.0)
    assert not is_burst(9, 0.001)
    assert not is_burst(20, 10.0)


def test_what_is_never_reached_is_told() -> None:
    """To one part in a hundred otherwise."""
    assert more_needed(lambda amount: False) is None
    assert more_needed(lambda amount: True) == 0.0
    assert more_needed(lambda amount: amount >= 700) == pytest.approx(700, rel=0.01)
    assert more_needed(lambda amount: amount >= 0.1) == pytest.approx(0.1, abs=0.5)
