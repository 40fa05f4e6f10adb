"""Two slots that take turns: what takes a fleet back, what does not, and what a host's own failure costs the others."""

from __future__ import annotations

from functools import partial

import pytest

from tests.sim.drive import BLUE_GREEN, ROLLING, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.mishaps import trip
from tests.sim.turns import NEW_SLOT, OLD_SLOT, dead, whole
from tests.sim.world import OperatorDied, World
from tradeops.base.errors import ExitCode, Refused, TradeopsError
from tradeops.deploy import run
from tradeops.deploy.crew import Crew
from tradeops.deploy.journal import list_runs
from tradeops.deploy.rollback import rollback
from tradeops.deploy.site import Progress


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


def test_a_host_trades_until_its_old_slot_stands_by(world: World) -> None:
    """One that takes long to be proved keeps nobody waiting, and is itself stood down only when its time is up."""
    slow, trading = world.truth["h1"], []

    def trouble() -> None:
        slow.slots[OLD_SLOT].process = None
        slow.damaged = world.old
        slow.faults.add("does_not_start")
        trip(world.truth["h2"])

    def look() -> None:
        trading.append(sum(host.trading() for host in world.truth.values()))

    world.when("warm", trouble)
    world.when("warm", partial(world.when, "warm", look))
    for _ in range(2):
        world.when("warm", partial(world.when, "cutover", look))
    world.when("warm", partial(world.when, "stand-down", look))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.MIXED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert set(trading) == {7}, "all but the one that tripped"
    assert {name for name, host in world.truth.items() if not host.trading()} == {"h1", "h2"}
    assert {name for name, host in world.truth.items() if host.runs() != world.old} == {"h1"}
    slow.faults.clear()
    slow.damaged = None
    world.truth["h2"].guard.clear()
    assert try_abort(world)[0] == ExitCode.PROVED
    whole(world, world.old, OLD_SLOT)


def test_slots_that_take_a_while_are_waited_for_also_where_a_control_has_tripped(world: World) -> None:
    """A halt that was there before the token moved says nothing of the slot that takes over."""
    for host in world.truth.values():
        host.slow_s = 0.3
    world.when("warm", partial(trip, world.truth["h2"]))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.BROUGHT_BACK and ending, ending
    assert [end.host for end in ending.hosts if "halted by reconciliation" in end.state] == ["h2"]
    assert {name for name, host in world.truth.items() if not host.trading()} == {"h2"}
    assert {(host.runs(), host.active, len(host.writers())) for host in world.truth.values()} == {(world.old, OLD_SLOT, 1)}


def test_a_rollback_to_slots_that_died_touches_nothing_unless_all_can_be_started(world: World) -> None:
    """D13: what lies damaged in one of them refuses it for all."""
    dead(world, "end-standby")
    for name in ("h3", "h4"):
        world.truth[name].slots[OLD_SLOT].process = None
    world.truth["h3"].damaged = world.old
    pids, site = world.pids_now(), world.site()
    with pytest.raises(Refused, match="h3: its release is damaged"):
        rollback(site, world.old, ROLLING)
    assert world.pids_now() == pids and all(host.trading() for host in world.truth.values())
    world.truth["h3"].damaged = None
    assert rollback(site, world.old, ROLLING).exit_code == ExitCode.PROVED
    whole(world, world.old, OLD_SLOT)


@pytest.mark.parametrize("phase", ["warm", "let-go"])
def test_hosts_that_have_passed_do_not_depend_on_who_takes_the_run_up(world: World, phase: str) -> None:
    """Killed after the last step has passed, and again while it is taken up: they trade all the time, on all of their flow."""
    dead(world, phase)
    world.clock.sleep_s(BLUE_GREEN.lease + 1)
    world.when("warm", world.die)
    with pytest.raises(OperatorDied):
        try_resume(world)
    world.revive()
    world.clock.sleep_s(BLUE_GREEN.lease + 1)
    assert all(host.trading() and host.guard.at().flow_cap_ppm is None for host in world.truth.values())
    leases = [verb for verb, _ in world.ledger.rows].count("lease")
    assert try_resume(world)[0] == ExitCode.PROVED
    assert [verb for verb, _ in world.ledger.rows].count("lease") == leases
    whole(world, world.new, NEW_SLOT)


def test_a_slot_that_dies_while_it_is_to_stay_warm_is_told(world: World) -> None:
    """On the board and in the ending; what trades is well, and trades on."""
    world.when("warm", partial(setattr, world.truth["h4"].slots[OLD_SLOT], "process", None))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.PROVED and ending and ending.title.endswith("the slot to go back to had died on h4")
    assert any(isinstance(told, Progress) and told.host == "h4" and "nothing stands by in slot blue" in told.detail for told in world.seen)
    whole(world, world.new, NEW_SLOT)
