"""No control group is left: absolute limits, and the hosts' own past where it was recorded; the verdict says which."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.gaterun import SPEC, healthy, last
from tests.support.gates import ALONE, HOSTS, OLD, Daemon, reading
from tradeops.gates.evidence import Ruling
from tradeops.gates.past import Past
from tradeops.gates.rounds import Round
from tradeops.gates.verdict import ABSOLUTE, PAST


@pytest.fixture(scope="module")
def past() -> list[Round]:
    """Two minutes of the same hosts under the old release."""
    fleet, seen = {host: Daemon(host, OLD) for host in HOSTS}, Past(SPEC, dict.fromkeys(HOSTS, OLD))
    for second in range(122):
        seen.feed(reading(fleet, float(second)), float(second))
        healthy(second, fleet)
    return seen.rounds


def worse(second: int, fleet: Mapping[str, Daemon]) -> None:
    """Twice the errors of `healthy`, under the absolute limit."""
    healthy(second, fleet)
    for at, daemon in enumerate(fleet.values()):
        daemon.count(errors=(second + 3 * at) % 5 == 2)


def test_it_passes_beside_its_own_past(past: list[Round]) -> None:
    """Everything but the level of a gauge, which has no past, is compared."""
    verdict = last(healthy, arms=ALONE, past=past)
    assert verdict.ruling is Ruling.PASS
    assert verdict.compared == PAST
    assert [one.name for one in verdict.metrics if one.ruling is Ruling.NOT_JUDGED] == ["gross_notional"]
    assert "order_placement_latency_beside_control" in {one.name for one in verdict.metrics}


def test_it_fails_beside_a_better_past(past: list[Round]) -> None:
    """Twice the errors that the same hosts made under the old release."""
    assert last(worse, arms=ALONE, past=past).why == ("error_rate: it is worse than the control",)


def test_without_a_past_only_limits_judge() -> None:
    """And what they cannot judge is said not to be."""
    verdict = last(worse, arms=ALONE)
    assert verdict.ruling is Ruling.PASS
    assert verdict.compared == ABSOLUTE
    assert {one.name: one.text for one in verdict.metrics if one.ruling is Ruling.NOT_JUDGED} == {
        "order_rate": "there is no control group to compare it with",
        "gross_notional": "there is no control group to compare it with",
    }


def test_a_past_that_is_shorter_than_the_bake_is_used_once(past: list[Round]) -> None:
    """What it was compared with stays; nothing is compared twice."""
    verdict = last(healthy, arms=ALONE, past=past[:60])
    errors = verdict.metrics[0]
    assert errors.control is not None and errors.canary is not None
    assert errors.control.exposure == 60 * 50 * 8
    assert errors.canary.exposure > errors.control.exposure
