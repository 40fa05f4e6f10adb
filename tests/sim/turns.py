"""Fleets whose slots take turns: how a whole one looks, and runs whose operator dies."""

from __future__ import annotations

from functools import partial

import pytest

from tests.sim.drive import BLUE_GREEN, try_deploy
from tests.sim.world import OperatorDied, World

OLD_SLOT, NEW_SLOT = "blue", "green"


def whole(world: World, release: str, slot: str) -> None:
    """Every host trades that release in that slot, on nobody's lease, with nothing beside it."""
    for host in world.truth.values():
        assert (host.runs(), host.active, host.trading()) == (release, slot, True), host.name
        assert len(host.writers()) == 1 and host.beside.process is None
        assert host.lock is None and host.guard.at().lease is None and host.guard.at().flow_cap_ppm is None


def die_at(world: World, phase: str, *, after: int = 0) -> None:
    """The operator is killed when the phase begins for the `after + 1`th time."""
    act = world.die
    for _ in range(after):
        act = partial(world.when, phase, act)
    world.when(phase, act)


def dead(world: World, phase: str, *, after: int = 0) -> None:
    """A run whose operator was killed there; somebody else is at the keys now."""
    die_at(world, phase, after=after)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, BLUE_GREEN)
    world.revive()
