"""Standbys whose run died: they end themselves some time after its lease, and whoever takes the run up does without them."""

from __future__ import annotations

import pytest

from tests.sim.drive import BLUE_GREEN, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.turns import NEW_SLOT, OLD_SLOT, dead, whole
from tests.sim.world import FLEET, World
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode
from tradeops.contracts.directive import Verb
from tradeops.safety.directives import compose, sign
from tradeops.trader.vigil import OUTLIVES_NS

SOON_S, LONG_S = 1000.0, OUTLIVES_NS / NS_PER_S + 200


def alone(world: World, seconds: float) -> list[str]:
    """Nobody is there for so long. Returns the hosts on which something still stands by."""
    world.clock.sleep_s(seconds)
    world.statuses(world.site().hosts, deadline_s=1.0)
    return [name for name, host in world.truth.items() if host.beside.process]


@pytest.mark.parametrize("then", [try_resume, try_abort])
@pytest.mark.parametrize("phase", ["gate", "cutover", "let-go", "warm"])
def test_a_run_is_taken_up_without_its_standbys(world: World, phase: str, then: object) -> None:
    """O09: in the shadow, in the cutover, in the bake and in the warm time; what traded before trades all the time, and the run
    comes to the end that it would have come to.
    """
    dead(world, phase)
    trading = {name: host.active for name, host in world.truth.items()}
    assert len(alone(world, SOON_S)) == 8, "it is soon enough to find them warm"
    assert alone(world, LONG_S) == []
    assert {name: host.active for name, host in world.truth.items()} == trading
    assert all(len(host.writers()) == 1 for host in world.truth.values())
    code, ending = (try_resume if then is try_resume else try_abort)(world)
    assert code == ExitCode.PROVED, ending
    assert_truth(world, code, ending, *((world.old, world.new) if then is try_resume else (world.new, world.old)), world.pids)
    whole(world, *((world.new, NEW_SLOT) if then is try_resume else (world.old, OLD_SLOT)))


def test_a_run_that_lives_keeps_its_standbys_for_as_long_as_it_takes(world: World) -> None:
    """The lease is renewed all the time: a warm time of hours ends nothing before it is over."""
    cutover = BLUE_GREEN.cutover or pytest.fail()
    book = BLUE_GREEN.model_copy(update={"cutover": cutover.model_copy(update={"warm": 3 * LONG_S})})
    seen: list[int] = []
    world.when("end-standby", lambda: seen.append(sum(host.beside.process is not None for host in world.truth.values())))
    assert (try_deploy(world, world.new, book)[0], seen) == (ExitCode.PROVED, [8])


def test_a_host_on_which_no_slot_has_the_token_keeps_both(world: World) -> None:
    """Somebody stood it down: one of the two is to take over, so neither ends; the run is taken up as on the others."""
    dead(world, "warm")
    order = compose(Verb.STANDBY, id="by-hand", fleet=FLEET, hosts=("h1",), reason="test", now_ns=world.clock.wall_ns())
    assert world.truth["h1"].direct(order, sign(order, world.key)).accepted
    assert alone(world, LONG_S + SOON_S) == ["h1"]
    assert world.truth["h1"].slot.process and not world.truth["h1"].writers()
    code, ending = try_abort(world)
    assert code == ExitCode.PROVED, ending
    whole(world, world.old, OLD_SLOT)
