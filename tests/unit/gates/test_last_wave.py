"""Nobody is left on the old release: beside those that passed before, at the same time, and by absolute limits; the verdict says which."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.gaterun import healthy, last
from tests.support.gates import ALONE, HOSTS, NEW, Daemon
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Ruling
from tradeops.gates.verdict import ABSOLUTE, PEERS

PASSED, JOINED = HOSTS[:4], HOSTS[4:]
LAST = Arms(dict.fromkeys(JOINED, NEW), dict.fromkeys(PASSED, NEW))


def stormy(second: int, fleet: Mapping[str, Daemon]) -> None:
    """From one second on, twice the errors of `healthy` on every host: the market is another one."""
    healthy(second, fleet)
    for at, daemon in enumerate(fleet.values()):
        daemon.count(errors=second > 30 and (second + 3 * at) % 5 == 2)


def worse(second: int, fleet: Mapping[str, Daemon]) -> None:
    """Twice the errors on those that joined last, under the absolute limit."""
    healthy(second, fleet)
    for at, daemon in enumerate(fleet.values()):
        daemon.count(errors=daemon.host in JOINED and (second + 3 * at) % 5 == 2)


def test_it_passes_beside_those_that_passed() -> None:
    """Every metric is compared, the level of a gauge too."""
    verdict = last(healthy, arms=LAST)
    assert verdict.ruling is Ruling.PASS
    assert verdict.compared == PEERS
    assert not [one.name for one in verdict.metrics if one.ruling is Ruling.NOT_JUDGED]
    assert "order_placement_latency_beside_control" in {one.name for one in verdict.metrics}


def test_a_market_that_has_changed_fails_nobody() -> None:
    """It is the same on both arms: what these hosts did before their switch would have condemned a good release."""
    assert last(stormy, arms=LAST).ruling is Ruling.PASS


def test_it_fails_beside_better_ones() -> None:
    """D11: the same release does worse where it came last."""
    assert last(worse, arms=LAST).why == ("error_rate: it is worse than the control",)


def test_without_others_only_limits_judge() -> None:
    """And what they cannot judge is said not to be."""
    verdict = last(worse, arms=ALONE)
    assert verdict.ruling is Ruling.PASS
    assert verdict.compared == ABSOLUTE
    assert {one.name: one.text for one in verdict.metrics if one.ruling is Ruling.NOT_JUDGED} == {
        "order_rate": "there is no control group to compare it with",
        "gross_notional": "there is no control group to compare it with",
    }
