"""Turning flags on, in whole runs: parity first and again in the same step, the path exercised, and every other way in refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim.drive import ACTIVATE, ROLLING, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.world import World
from tradeops.base.errors import ExitCode, Refused
from tradeops.contracts.manifest import Flag, Start
from tradeops.contracts.status import MarkKind
from tradeops.deploy.deploy import deploy, plan
from tradeops.deploy.ending import Ending

OFF, ON = Flag("rlp-7", "m"), Flag("rlp-7", "m", on=True)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Eight hosts that trade release 1, which knows the flag; release 2 turns it on."""
    world = World(tmp_path)
    world.old = world.release(1, flags=(OFF,))
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    world.new = world.release(2, flags=(ON,))
    world.pids = world.pids_now()
    return world


def active(world: World) -> list[str]:
    """The truth: hosts on which the flag is in force."""
    return [name for name, host in world.truth.items() if (identity := host.identity().identity) and "rlp-7" in identity.flags]


def test_a_flag_goes_on_through_the_steps(world: World) -> None:
    """D06, D07: the plan says so, every host is proved before each wave, and each step is seen to have gone down its path."""
    drawn = plan(world.site(), world.new, ACTIVATE)
    assert (drawn.turns_on, drawn.changes) == (("rlp-7",), ("flag rlp-7 goes on",))
    assert try_deploy(world, world.new, ACTIVATE)[0] == ExitCode.PROVED
    assert len(active(world)) == 8
    phases = [verb for verb, result in world.ledger.rows if result == "intent"]
    assert phases.count("parity") == drawn.waves()
    assert phases.count("exercise") == len(drawn.steps)
    assert plan(world.site(), world.release(3, flags=(ON,)), ROLLING).turns_on == ()


def test_a_flag_does_not_go_on_without_a_canary(world: World) -> None:
    """D06: a flag is no detail of a routine deploy."""
    with pytest.raises(Refused, match="no canary that bakes"):
        deploy(world.site(), world.new, ROLLING)
    assert world.pids_now() == world.pids


@pytest.mark.parametrize(
    ("flags", "said"),
    [((), "does not know it"), ((Flag("rlp-7", "another"),), "another meaning")],
)
def test_a_flag_does_not_go_on_where_the_fleet_does_not_know_it(tmp_path: Path, flags: tuple[Flag, ...], said: str) -> None:
    """D05, D07: the code first, with the flag off; and an id that means something else there is never used again."""
    world = World(tmp_path)
    assert try_deploy(world, world.release(1, flags=flags))[0] == ExitCode.PROVED
    with pytest.raises(Refused, match=said) as caught:
        deploy(world.site(), world.release(2, flags=(ON,)), ACTIVATE)
    assert "h8" in str(caught.value.where)
    assert active(world) == []


def test_another_meaning_is_refused_even_off(tmp_path: Path) -> None:
    """D05: Knight's first step, taken at the deploy whatever a ledger says."""
    world = World(tmp_path)
    assert try_deploy(world, world.release(1, flags=(Flag("power-peg", "Power Peg"),)))[0] == ExitCode.PROVED
    assert try_deploy(world, world.release(2, flags=(Flag("power-peg", "RLP"),)))[0] == ExitCode.REFUSED


def test_a_mixed_fleet_gets_no_flag(world: World) -> None:
    """D07: one host on another release, one on none: refused before anything is touched, both named."""
    world.truth["h8"].slot.linked = world.truth["h8"].slot.previous = None
    world.truth["h8"].slot.process = None
    with pytest.raises(Refused, match="h8: runs nothing"):
        deploy(world.site(), world.new, ACTIVATE)
    other = world.release(3, flags=(OFF,))
    world.truth["h7"].releases.add(other)
    world.truth["h7"].slot.linked = other
    world.truth["h7"].tampered(other)
    with pytest.raises(Refused, match=r"h7: runs .* most run"):
        deploy(world.site(), world.release(4, flags=(ON,)), ACTIVATE)


def test_a_host_that_drifts_between_check_and_activation_is_refused(world: World) -> None:
    """D07: looked at again under the locks, right before the first host gets the flag: exit 9, nothing touched."""
    world.when("stage", lambda: world.truth["h8"].faults.add("flipped_byte"))
    code, ending = try_deploy(world, world.new, ACTIVATE)
    assert (code, active(world), world.pids_now()) == (ExitCode.REFUSED, [], world.pids)
    assert ending and "h8" in ending.causes
    assert all(host.lock is None for host in world.truth.values())


def test_a_host_that_drifts_between_waves_ends_the_activation(world: World) -> None:
    """D07: the canary has it, the others do not get it, and the canary loses it again; the odd host is named."""
    world.when("exercise", lambda: world.truth["h8"].faults.add("flipped_byte"))
    code, ending = try_deploy(world, world.new, ACTIVATE)
    assert (code, active(world)) == (ExitCode.MIXED, [])
    assert ending and [end.host for end in ending.hosts if end.problem] == ["h8"]


@pytest.mark.parametrize(("take_up", "left"), [(try_resume, 8), (try_abort, 0)])
def test_a_path_that_nothing_goes_down_is_not_promoted(
    world: World, take_up: Callable[[World], tuple[ExitCode, Ending | None]], left: int
) -> None:
    """D07, D10: zero hits are no data: the canary is held with the flag on and the other seven keep it off, until it is used or undone."""
    world.truth["h1"].faults.add("path_unused")
    code, ending = try_deploy(world, world.new, ACTIVATE)
    assert (code, active(world)) == (ExitCode.INCONCLUSIVE, ["h1"]), ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and "nothing went down the path of rlp-7" in ending.title
    assert [mark.kind for mark in world.truth["h1"].marks] == [MarkKind.HOLD]
    assert [name for name, host in world.truth.items() if not host.trading()] == ["h1"]
    world.truth["h1"].faults.clear()
    code, ending = take_up(world)
    assert (code, len(active(world))) == (ExitCode.PROVED, left), ending
    assert all(host.trading() for host in world.truth.values())


def test_a_release_that_ends_an_overlay_yet_to_come_is_refused(world: World) -> None:
    """D06: nobody ends tomorrow's emergency stop today."""
    ahead = world.release(3, flags=(Flag("rlp-7", "m", on=True, ends=1),))
    with pytest.raises(Refused, match="ends overlay 1, and 0 is the newest"):
        deploy(world.site(), ahead, ACTIVATE)


def test_a_service_that_tells_no_hits_turns_no_flag_on(tmp_path: Path) -> None:
    """No data is never a pass."""
    world = World(tmp_path)
    for host in world.truth.values():
        host.kind = "url"
    foreign = Start(("./serve",), identity="/identity")
    assert try_deploy(world, world.release(1, flags=(OFF,), start=foreign))[0] == ExitCode.PROVED
    with pytest.raises(Refused, match="does not tell"):
        deploy(world.site(), world.release(2, flags=(ON,), start=foreign), ACTIVATE)
