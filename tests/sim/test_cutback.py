"""Two slots that take turns: what takes a fleet back, what does not, and what a host's own failure costs the others."""

from __future__ import annotations

from functools import partial

import pytest

from tests.sim.drive import BLUE_GREEN, ROLLING, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.mishaps import trip
from tests.sim.turns import NEW_SLOT, OLD_SLOT, dead, whole
from tests.sim.world import World
from tradeops.base.errors import ExitCode, TradeopsError
from tradeops.deploy import run
from tradeops.deploy.crew import Crew
from tradeops.deploy.journal import list_runs


def test_a_host_that_is_silent_in_a_cut_back_is_its_own_failure(world: World) -> None:
    """The others get their token back; it is named, writes nowhere, and is undone when it answers."""

    def trouble() -> None:
        world.truth["h1"].faults.add("agent_gone")
        trip(world.truth["h2"])

    world.when("warm", trouble)
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.MIXED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert {name for name, host in world.truth.items() if not host.trading()} == {"h1", "h2"}
    assert not world.truth["h1"].writers() and list_runs(world.site().runs)[-1].end() is not None
    world.truth["h1"].faults.clear()
    world.truth["h2"].guard.clear()
    assert try_abort(world)[0] == ExitCode.PROVED
    whole(world, world.old, OLD_SLOT)


def test_an_error_that_nobody_expects_ends_the_run_with_every_host_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 6, an end in the journal, the locks given back; the run can be taken up."""

    def breaks(_crew: Crew) -> None:
        raise TradeopsError("nobody thought of this")

    with monkeypatch.context() as patch:
        patch.setattr(run, "end_standbys", breaks)
        code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.MIXED and ending and "nobody thought of this" in ending.title
    assert [bool(end.problem) for end in ending.hosts] == [True] * 8
    assert all(host.lock is None and host.trading() for host in world.truth.values())
    assert list_runs(world.site().runs)[-1].end() is not None
    assert try_resume(world)[0] == ExitCode.PROVED
    whole(world, world.new, NEW_SLOT)


@pytest.mark.parametrize("phase", ["warm", "end-standby"])
def test_locks_that_lapse_while_slots_are_warm_are_taken_again(world: World, phase: str) -> None:
    """A closed laptop takes nothing back: what was proved trades on, and what stood by is ended."""
    if phase == "warm":
        world.when(phase, partial(world.clock.sleep_s, BLUE_GREEN.lease + 80))
        fences = {name: host.fence + 2 for name, host in world.truth.items()}
    else:
        world.when("warm", partial(world.when, "regain", partial(setattr, world.truth["h5"], "lock", None)))
        fences = {name: host.fence + (2 if name == "h5" else 1) for name, host in world.truth.items()}
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.PROVED, ending
    whole(world, world.new, NEW_SLOT)
    assert {name: host.fence for name, host in world.truth.items()} == fences


@pytest.mark.parametrize("lock", [True, False])
def test_a_standby_that_cannot_be_ended_takes_nothing_back(world: World, lock: bool) -> None:
    """The release trades everywhere; the host is named, exit 6, and taking the run up ends what is left."""
    stuck = world.truth["h5"]
    world.when("end-standby", partial(stuck.faults.add, "survivor") if lock else partial(setattr, stuck, "lock", None))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.MIXED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and [end.host for end in ending.hosts if end.problem] == ["h5"] and "a standby could not be ended" in ending.title
    assert {(host.runs(), host.trading()) for host in world.truth.values()} == {(world.new, True)}
    assert [name for name, host in world.truth.items() if host.beside.process] == ["h5"]
    stuck.faults.clear()
    assert try_resume(world)[0] == ExitCode.PROVED
    whole(world, world.new, NEW_SLOT)


def test_a_slot_that_survived_its_end_can_take_over_again(world: World) -> None:
    """Nothing was started there since: the very process is what the run goes back to."""
    world.when("end-standby", partial(world.truth["h5"].faults.add, "survivor"))
    world.when("finish", world.truth["h5"].faults.clear)
    world.when("finish", partial(world.truth["h1"].faults.add, "disk_full"))
    world.when("finish", partial(world.when, "regain", world.truth["h1"].faults.clear))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.BROUGHT_BACK, ending
    whole(world, world.old, OLD_SLOT)
    assert {name for name, pid in world.pids_now().items() if pid == world.pids[name]} == {"h5"}


def test_what_an_earlier_run_left_beside_is_ended_by_one_that_goes_back_too(world: World) -> None:
    """Exit 11 says that nothing is left beside what trades."""
    dead(world, "warm")
    world.clock.sleep_s(BLUE_GREEN.lease + 1)
    code, ending = try_deploy(world, world.release(3, version="3-broken"), ROLLING)
    assert code == ExitCode.BROUGHT_BACK, ending
    whole(world, world.new, NEW_SLOT)
