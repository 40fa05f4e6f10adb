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
from tradeops.contracts.directive import ADOPT, CANCEL
from tradeops.contracts.layout import SLOTS

SEEDS = int(os.environ.get("TRADEOPS_SOAK_SEEDS", "240"))
PARTS = 8
STEPS = 45


def _step(world: World, rng: random.Random) -> None:
    """One thing happens; looks, answers and saves more often than what breaks."""
    slot = rng.choice(SLOTS)
    match rng.choices(
        (
            *("turn", "leave", "send", "answer", "save", "activate", "standby", "adopt"),
            *("start", "crash", "guard", "silence", "lose", "tear", "permit"),
        ),
        (12, 8, 14, 4, 6, 20, 5, 8, 4, 4, 3, 2, 1, 1, 4),
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
            world.activate(slot, rng.choice((ADOPT, ADOPT, CANCEL)))
        case "standby":
            world.standby()
        case "adopt":
            for one in SLOTS:
                world.send(one)
            world.answer(ends=False)
            world.standby(ADOPT)
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
    world.tend()
    if rng.random() < 0.6:
        world.answer(ends=rng.random() < 0.2)


def _story(seed: int, folder: Path) -> tuple[int, int]:
    """One world's story; how often the token moved, and with how many orders."""
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
        return world.moved, world.adopted
    finally:
        world.close()


@pytest.mark.parametrize("part", range(PARTS))
def test_never_two_writers_in_whatever_order_things_happen(part: int) -> None:
    """O09 K06: one slot or none, at every moment; no order id twice; no activation while anybody writes, or anything works that
    the slot does not know; in the end what works is what the writer knows, and nothing where nobody writes.
    """
    moved = adopted = 0
    for seed in range(part, SEEDS, PARTS):
        with TemporaryDirectory(dir=memory_folder()) as folder:
            try:
                moved, adopted = map(sum, zip((moved, adopted), _story(seed, Path(folder)), strict=True))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
    assert moved > SEEDS // PARTS // 4, "the token hardly ever moved: nothing was tried"
    assert adopted > SEEDS // PARTS // 8, "hardly an order was adopted: nothing was tried"
