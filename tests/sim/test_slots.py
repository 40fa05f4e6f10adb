"""Random interleavings of crash, restart, standby, activation and lost files on one host: never two writers (O09, K06)."""

from __future__ import annotations

import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.bench.guards import memory_folder
from tests.sim.slots import World
from tradeops.base.clock import NS_PER_MS
from tradeops.contracts.layout import SLOTS

SEEDS = int(os.environ.get("TRADEOPS_SOAK_SEEDS", "240"))
PARTS = 8
STEPS = 45


def _step(world: World, rng: random.Random) -> None:
    """One thing happens; looks, answers and saves more often than what breaks."""
    slot = rng.choice(SLOTS)
    match rng.choices(
        ("turn", "leave", "send", "answer", "save", "activate", "standby", "start", "crash", "guard", "silence", "lose", "tear", "permit"),
        (12, 8, 14, 4, 6, 20, 9, 4, 4, 3, 2, 1, 1, 4),
    )[0]:
        case "turn":
            world.turn(slot, says=rng.random() < 0.4)
        case "leave":
            world.leave(slot)
        case "send":
            world.send(slot)
        case "answer":
            world.answer()
        case "save":
            world.save()
        case "activate":
            world.activate(slot)
        case "standby":
            world.standby()
        case "start":
            world.start(slot)
        case "crash":
            world.crash(slot)
        case "guard":
            world.guard()
        case "silence":
            world.clock.advance_ns(rng.randint(500, 3_000) * NS_PER_MS)
        case "lose":
            world.lose_state()
        case "tear":
            (world.folder / "stop.page").write_bytes(rng.randbytes(4096))
        case "permit":
            world.permit()


def _ordinary(world: World, rng: random.Random) -> None:
    """What goes on by itself between two events, most of it, most of the time."""
    for slot in SLOTS:
        if rng.random() < 0.3:
            world.start(slot)
        if rng.random() < 0.7:
            world.turn(slot, says=rng.random() < 0.5)
        if rng.random() < 0.5:
            world.leave(slot)
    if rng.random() < 0.4:
        world.answer()


def _story(seed: int, folder: Path) -> int:
    """One world's story; how often the token moved."""
    rng = random.Random(seed)
    world = World(folder)
    try:
        for slot in SLOTS:
            world.start(slot)
        for _ in range(STEPS):
            world.clock.advance_ns(rng.randint(1, 120) * NS_PER_MS)
            if world.memory is not None and rng.random() < 0.9:
                world.memory.beat()
            _ordinary(world, rng)
            _step(world, rng)
            world.check()
        world.settle()
        return world.moved
    finally:
        world.close()


@pytest.mark.parametrize("part", range(PARTS))
def test_never_two_writers_in_whatever_order_things_happen(part: int) -> None:
    """O09 K06: one slot or none, at every moment; no order id twice; no activation while anybody writes or anything works."""
    moved = 0
    for seed in range(part, SEEDS, PARTS):
        with TemporaryDirectory(dir=memory_folder()) as folder:
            try:
                moved += _story(seed, Path(folder))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
    assert moved > SEEDS // PARTS // 4, "the token hardly ever moved: nothing was tried"
