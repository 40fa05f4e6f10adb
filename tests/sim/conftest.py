"""The world that most simulated runs begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.drive import try_deploy
from tests.sim.world import World
from tradeops.base.errors import ExitCode


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Eight hosts that trade release 1; release 2 is built."""
    world = World(tmp_path)
    world.old = world.release(1)
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    world.new = world.release(2)
    world.pids = world.pids_now()
    return world
