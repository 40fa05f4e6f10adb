"""What weight gives a step's hosts their capped share of the traffic."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.sim.world import make_host
from tradeops.contracts.units import PPM
from tradeops.deploy.plan import StepPlan
from tradeops.deploy.traffic import percent_of

HOSTS = [make_host(f"h{n}") for n in range(1, 9)]


def step(reached: int, cap_ppm: int | None) -> StepPlan:
    """A step that has reached so many hosts."""
    return StepPlan("", (0,), tuple(host.name for host in HOSTS[:reached]), cap_ppm, 0.0, 0)


@pytest.mark.parametrize(("reached", "flow"), [(1, "1/100"), (1, "5/100"), (1, "10/100"), (2, "10/100"), (4, "40/100"), (7, "80/100")])
def test_the_share_is_never_more_than_the_cap(reached: int, flow: str) -> None:
    """D08: rounded down, and within a per cent of what was asked for."""
    cap_ppm = int(Fraction(flow) * PPM * len(HOSTS) / reached)
    weight = reached * percent_of(step(reached, cap_ppm), HOSTS)
    share = Fraction(weight, weight + 100 * (len(HOSTS) - reached))
    assert Fraction(flow) - Fraction(1, 100) <= share <= Fraction(flow)


def test_no_cap_and_nobody_else_is_the_whole() -> None:
    """A last step, and a step that has reached every host."""
    assert percent_of(step(1, None), HOSTS) == percent_of(step(8, 500_000), HOSTS) == 100
    assert percent_of(step(1, 1), HOSTS) == 1
