"""An outage of a venue is hundreds of rejects on every host in a second: left out on both arms, and not for ever."""

from __future__ import annotations

import random
from collections.abc import Mapping

from tests.support.gaterun import BAKE_S, healthy, last
from tests.support.gates import CANARY, Daemon
from tradeops.gates.counts import BURST_ROUNDS_MAX, CountJudge, Demand
from tradeops.gates.evidence import Arm, Evidence, Ruling, Verdict

DEMAND = Demand(limit=0.05, margin=3.0, rare=0.001)


def rejects(verdict: Verdict) -> Evidence:
    return next(one for one in verdict.metrics if one.name == "reject_ratio")


def outage(*seconds: int, only: str | None = None) -> Verdict:
    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        healthy(second, fleet)
        for host, daemon in fleet.items():
            if second in seconds and (only is None or host == only):
                daemon.count(rejects=500)

    return last(step)


def test_an_outage_on_every_host_fails_nobody() -> None:
    """It is left out with its exposure, and the verdict says so."""
    verdict = outage(30, 31, 75)
    assert verdict.ruling is Ruling.PASS
    found = rejects(verdict)
    assert found.left_out == 3
    assert found.canary == Arm(0, 50 * (BAKE_S - 3))


def test_an_outage_in_the_first_second_is_one_too() -> None:
    """There is no past yet: the limit stands for it."""
    assert rejects(outage(0)).left_out == 1


def test_a_burst_of_the_canary_alone_counts() -> None:
    """And fails at once."""
    verdict = outage(30, only=CANARY[0])
    assert verdict.ruling is Ruling.FAIL
    assert verdict.elapsed_s == 31


def test_an_outage_that_stays_is_how_things_are() -> None:
    """After ten rounds in a row it is counted: over the absolute limit."""
    verdict = outage(*range(30, 200))
    assert verdict.ruling is Ruling.FAIL
    assert rejects(verdict).left_out == BURST_ROUNDS_MAX


def test_false_alarms_in_seeded_worlds_with_outages() -> None:
    """Rejects that come by tens and hundreds at once, to whichever host: raw counts would fail one canary of four that is no worse."""
    world = random.Random(5)
    failed = raw = 0
    for _ in range(40):
        judge, counting = (CountJudge(DEMAND, 0.005, 0.05) for _ in range(2))
        for second in range(120):
            hosts = [sum(world.random() < 0.01 for _ in range(10)) for _ in range(8)]
            if second % 40 == 20:
                hosts = [events + world.choice((20, 20, 20, 400)) for events in hosts]
            canary, control = Arm(hosts[0], 50), Arm(sum(hosts[1:]), 350)
            judge.add(canary, control, 1.0)
            counting.seen.add(canary, control, DEMAND)
        failed += judge.judge("rejects", note="", outlook=False).ruling is Ruling.FAIL
        raw += any(log_e > 5.3 for log_e, _ in counting.seen.failing(DEMAND, 0.05))
    assert failed <= 1
    assert raw > 10
