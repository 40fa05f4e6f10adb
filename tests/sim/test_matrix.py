"""Every fault in every phase, on a host chosen by the seed: whatever the ending, it tells the truth about the fleet."""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path

import pytest

from tests.sim.drive import assert_truth, try_abort, try_deploy
from tests.sim.mishaps import LASTING, LOST
from tests.sim.world import OperatorDied, World
from tradeops.base.errors import ExitCode

SEEDS = int(os.environ.get("TRADEOPS_SOAK_SEEDS", "40"))
PHASES = ("lock", "stage", "drain", "stop", "switch", "start", "prove", "smoke", "resume", "finish")


def _begin(tmp_path: Path, seed: int) -> tuple[World, str, str, dict[str, int]]:
    world = World(tmp_path, seed=seed)
    old = world.release(1)
    assert try_deploy(world, old)[0] == ExitCode.PROVED
    new = world.release(2)
    return world, old, new, world.pids_now()


@pytest.mark.parametrize("fault", [*LASTING, *LOST, "reboot"])
@pytest.mark.parametrize("phase", PHASES)
def test_one_fault(tmp_path: Path, phase: str, fault: str) -> None:
    """D01, D02: one host goes wrong in one phase; the exit code and the words are true of all eight."""
    seed = PHASES.index(phase) * 31 + len(fault)
    world, old, new, pids = _begin(tmp_path, seed)
    host = world.truth[random.Random(seed).choice(sorted(world.truth))]
    world.when(phase, host.reboot if fault == "reboot" else partial(host.faults.add, fault))
    code, ending = try_deploy(world, new)
    assert code in (ExitCode.PROVED, ExitCode.PREFLIGHT, ExitCode.LOCKED, ExitCode.MIXED, ExitCode.BROUGHT_BACK), code
    assert_truth(world, code, ending, old, new, pids)
    for name, sim in world.truth.items():
        assert sim.runs() in (old, new) or not sim.trading() or name == host.name


@pytest.mark.parametrize("fault", [*LASTING, "reboot"])
def test_abort_after_the_fault_is_healed(tmp_path: Path, fault: str) -> None:
    """A run that died beside a fault is undone once the host is healed: every host on the old release, no lock left."""
    seed = len(fault)
    world, old, new, _ = _begin(tmp_path, seed)
    host = world.truth[random.Random(seed).choice(sorted(world.truth))]
    phase = PHASES[seed % len(PHASES)]

    def strike() -> None:
        if fault == "reboot":
            host.reboot()
        host.faults.add(fault)
        world.die()

    world.when(phase, strike)
    with pytest.raises(OperatorDied):
        try_deploy(world, new)
    world.revive()
    host.faults.clear()
    host.survivors.clear()
    code, ending = try_abort(world)
    assert code == ExitCode.PROVED, ending
    assert {sim.runs() for sim in world.truth.values()} == {old}
    assert all(sim.lock is None for sim in world.truth.values())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_worlds(tmp_path: Path, seed: int) -> None:
    """Several faults at random moments: an exit code is never better than the truth. A failing seed reproduces."""
    world, old, new, pids = _begin(tmp_path, seed)
    dice = random.Random(seed)
    for _ in range(dice.randint(1, 4)):
        host = world.truth[dice.choice(sorted(world.truth))]
        world.when(dice.choice(PHASES), partial(host.faults.add, dice.choice([*LASTING, *LOST])))
    code, ending = try_deploy(world, new)
    assert_truth(world, code, ending, old, new, pids)
