"""Is an overlay in force on a host: by its guard, and by the trader that must obey it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.sim.drive import try_deploy
from tests.sim.world import World
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.status import Status
from tradeops.safety.overlay import not_in_force

OVERLAY = Overlay(OVERLAY_SCHEMA, "sim", 3)


@pytest.fixture
def status(tmp_path: Path) -> Status:
    """Of a host that trades and knows no overlay."""
    world = World(tmp_path)
    try_deploy(world, world.release(1))
    return world.truth["h1"].status()


def _with(status: Status, *, guard: int, trader: int | None) -> Status:
    vitals = status.vitals
    assert vitals is not None
    obeyed = None if trader is None else msgspec.structs.replace(vitals, identity=msgspec.structs.replace(vitals.identity, overlay=trader))
    return msgspec.structs.replace(status, overlay_number=guard, vitals=obeyed, vitals_age_ms=400.0)


@pytest.mark.parametrize(
    ("guard", "trader", "said"),
    [
        (2, 2, "its guard has overlay 2"),
        (3, 2, "its trader, heard 0.4 s ago, has overlay 2"),
        (3, None, ""),
        (3, 3, ""),
        (4, 4, ""),
    ],
)
def test_guard_and_trader_must_both_have_it(status: Status, guard: int, trader: int | None, said: str) -> None:
    """D06: a guard that took it is not enough; where no trader runs, nobody is left who must."""
    assert not_in_force(_with(status, guard=guard, trader=trader), OVERLAY) == said
