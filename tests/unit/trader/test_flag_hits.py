"""How often a flag's path is gone down is counted by the trader itself and told in its vitals (D07)."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.trader import MEAN_FLAG, SLOT, Desk, overlay
from tradeops.contracts.metrics import flag_hits
from tradeops.contracts.pages import read_vitals

HITS = flag_hits(MEAN_FLAG.id)
Start = Callable[..., Desk]


def told(desk: Desk) -> int | None:
    """The counter in the vitals; None: it is not there."""
    desk.rooms.write_vitals(desk.rooms.gate.look())
    vitals = read_vitals(desk.layout.vitals_page(SLOT))
    return vitals.counters.get(HITS) if vitals else None


def test_the_counter_has_a_name_of_its_own() -> None:
    """A metric's name has no dashes, a flag's id no underscores: no two flags share one."""
    assert HITS == "flag_hits_lean_to_mean_total"


def test_a_path_gone_down_is_counted_and_one_not_gone_down_is_told_as_zero(start: Start) -> None:
    """Zero before the first question to the strategy; more with each; no more when an overlay has turned the flag off."""
    desk = start()
    assert told(desk) == 0
    desk.trade()
    hits = told(desk)
    assert hits is not None
    assert hits > 0
    desk.rooms.set_overlay(overlay(1, flags_off={MEAN_FLAG.id: 1}))
    for _ in range(5):
        desk.quote()
        desk.look(300)
    assert told(desk) == hits


def test_a_flag_that_changes_nothing_is_not_gone_down(start: Start) -> None:
    """On, and yet without effect, since the configuration pulls the price by nothing."""
    desk = start(strategy__reversion_ppm=0)
    desk.trade()
    assert told(desk) == 0
