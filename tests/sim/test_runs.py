"""Whole runs against a simulated fleet: what each ending promises is held against the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.drive import ROLLING, assert_truth, force_deploy, try_abort, try_deploy
from tests.sim.world import OperatorDied, World
from tradeops.base.errors import ExitCode
from tradeops.contracts.manifest import Flag
from tradeops.contracts.status import Mark, MarkKind
from tradeops.deploy.asked import asked
from tradeops.deploy.journal import ending_of, list_runs
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.rollback import release_before, rollback
from tradeops.deploy.waves import cut

ROLLBACK = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "rollback", "steps": [{"hosts": "100%"}], "at_once": "100%"})


def test_every_host_proves_the_release(world: World) -> None:
    """D01: exit 0 means that the running process of every declared host is the release."""
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.PROVED
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and all(end.trading for end in ending.hosts)
    assert asked(world.site().runs) == dict.fromkeys(world.truth, world.new)


def test_first_wave_is_one_host_and_later_ones_a_third(world: World) -> None:
    """D08, D09: of eight hosts one is switched first, and never more than two together."""
    sizes = [len(wave) for step in cut(world.site().hosts, ROLLING) for wave in step.waves]
    assert sizes == [1, 2, 2, 2, 1]


@pytest.mark.parametrize("fault", ["ssh_refused", "ssh_hang", "host_key"])
def test_a_host_that_cannot_be_reached_stops_everything(world: World, fault: str) -> None:
    """D01: host 8 unreachable in whatever way: exit 3, nothing touched."""
    world.truth["h8"].faults.add(fault)
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.PREFLIGHT
    assert_truth(world, code, ending, world.old, world.new, world.pids)


@pytest.mark.parametrize("fault", ["lying_copy", "disk_full", "read_only"])
def test_a_release_that_is_not_whole_is_never_switched_to(world: World, fault: str) -> None:
    """D02: a copy that reports success and writes nothing is found before any host is touched."""
    world.when("stage", lambda: world.truth["h8"].faults.add(fault))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.PREFLIGHT
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert all(host.lock is None for host in world.truth.values())


@pytest.mark.parametrize("fault", ["lying_switch", "survivor", "hidden_survivor", "flipped_byte", "lying_guard", "removed_present"])
def test_a_host_that_is_not_proved_fails_the_run(world: World, fault: str) -> None:
    """D02, D04: an old process, a wrong file, removed code or a lying guard on one host never ends in 0."""
    world.when("drain", lambda: world.truth["h1"].faults.add(fault))
    code, ending = try_deploy(world, world.new)
    assert code in (ExitCode.MIXED, ExitCode.BROUGHT_BACK)
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert not world.truth["h1"].trading() or code == ExitCode.BROUGHT_BACK


def test_a_release_that_does_not_come_up_is_taken_back(world: World) -> None:
    """A failed first wave ends with every host proved on the old release and trading: exit 11."""
    broken = world.release(3, version="3-broken")
    code, ending = try_deploy(world, broken)
    assert code == ExitCode.BROUGHT_BACK
    assert_truth(world, code, ending, world.old, broken, world.pids)
    assert all(host.trading() for host in world.truth.values())
    assert asked(world.site().runs) == dict.fromkeys(world.truth, world.old)


def test_going_back_is_refused_while_a_live_flag_would_change_its_meaning(tmp_path: Path) -> None:
    """D13: the switched hosts stay halted on the new release, and the run ends mixed."""
    world = World(tmp_path)
    old = world.release(1, flags=(Flag("rlp", "meaning-old"),))
    try_deploy(world, old)
    new = world.release(2, flags=(Flag("rlp", "meaning-new", on=True),))
    world.when("resume", lambda: world.truth["h1"].faults.add("feed_dead"))
    world.when("smoke", lambda: world.truth["h1"].faults.add("feed_dead"))
    ending = force_deploy(world, new)
    assert ending.exit_code == ExitCode.MIXED
    assert world.truth["h1"].linked == new
    assert not world.truth["h1"].trading()
    assert "rlp" in ending.hosts[0].problem


def test_rollback_takes_all_hosts_to_one_release(world: World) -> None:
    """Rollback picks the release that the whole fleet ran before, one for all hosts, and ends 0 when proved."""
    try_deploy(world, world.new)
    site = world.site()
    assert release_before(site) == world.old
    ending = rollback(site, world.old, ROLLBACK)
    assert ending.exit_code == ExitCode.PROVED
    assert {host.runs() for host in world.truth.values()} == {world.old}


def test_an_older_release_is_no_deploy(world: World) -> None:
    """A07: replaying the release before is refused; rollback is the way."""
    try_deploy(world, world.new)
    world.pids = world.pids_now()
    code, ending = try_deploy(world, world.old)
    assert code == ExitCode.REFUSED
    assert_truth(world, code, ending, world.old, world.new, world.pids)


def test_a_second_run_is_kept_out(world: World) -> None:
    """Two deploys at once: the second ends 7 and touches nothing."""
    world.truth["h5"].lock = ("other", 9, world.clock.monotonic_ns() + 10**11)
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.LOCKED
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert all(host.lock is None for name, host in world.truth.items() if name != "h5")


def test_a_lock_lost_to_another_between_survey_and_lock(world: World) -> None:
    """The locks already taken are given back when one host is held by another run."""

    def steal() -> None:
        world.truth["h5"].lock = ("other", 9, world.clock.monotonic_ns() + 10**11)

    world.when("lock", steal)
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.LOCKED
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert all(host.lock is None for name, host in world.truth.items() if name != "h5")


@pytest.mark.parametrize("phase", ["lock", "stage", "drain", "stop", "switch", "start", "prove", "smoke", "resume", "finish"])
def test_abort_undoes_a_run_that_died(world: World, phase: str) -> None:
    """SIGKILL of the operator at each phase, then `runs abort`: every host proved on the old release and trading."""
    world.when(phase, world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new)
    world.revive()
    assert ending_of(list_runs(world.site().runs)[-1]) == "unfinished"
    code, ending = try_abort(world)
    assert code == ExitCode.PROVED, ending
    assert {host.runs() for host in world.truth.values()} == {world.old}
    assert all(host.trading() for host in world.truth.values())
    assert all(host.lock is None for host in world.truth.values())


@pytest.mark.parametrize("phase", ["stage", "drain", "switch", "prove", "resume"])
def test_a_kill_stops_the_run_where_it_is(world: World, phase: str) -> None:
    """A kill that arrives in mid-run ends it with 12; no host trades afterwards."""

    def kill() -> None:
        for host in world.truth.values():
            host.guard.mark(Mark(MarkKind.KILL, "kill-1", "operator-2", "stop", 0))

    world.when(phase, kill)
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.KILLED
    assert not any(host.trading() for host in world.truth.values())
    assert ending and not any(end.trading for end in ending.hosts)


def test_a_latch_over_ssh_fences_the_run(world: World) -> None:
    """A host that was latched refuses the run's fence: the run ends with 12."""

    def latch() -> None:
        world.truth["h3"].fence += 1
        world.truth["h3"].guard.mark(Mark(MarkKind.KILL, "kill-1", "operator-2", "stop", 0))

    world.when("drain", latch)
    code, _ = try_deploy(world, world.new)
    assert code == ExitCode.KILLED


def test_a_killed_fleet_can_be_repaired_and_stays_halted(world: World) -> None:
    """Deploying to hosts that carry a kill ends proved, halted (design: run)."""
    for host in world.truth.values():
        host.guard.mark(Mark(MarkKind.KILL, "kill-1", "operator-2", "stop", 0))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.PROVED
    assert ending and not any(end.trading for end in ending.hosts)
    assert "8 may not trade" in ending.title


def test_no_log_no_deploy(world: World) -> None:
    """A03: when the audit log cannot be written nothing is touched."""
    world.ledger.full = True
    assert try_deploy(world, world.new)[0] == ExitCode.REFUSED
    assert world.pids_now() == world.pids
    assert all(host.lock is None for host in world.truth.values())


def test_a_newer_roster_on_a_host_is_refused(world: World) -> None:
    """A host that knows a newer roster knows hosts that we may not: exit 9."""
    world.truth["h2"].roster_number = 2
    assert try_deploy(world, world.new)[0] == ExitCode.REFUSED


def test_a_release_without_limits_is_refused(world: World) -> None:
    """D12: no pre-set limits, no deploy."""
    assert try_deploy(world, world.release(4, limits=False))[0] == ExitCode.REFUSED


def test_a_skewed_clock_is_named(world: World) -> None:
    """O11: a host whose clock is off is not fit."""
    world.truth["h4"].faults.add("clock_skew")
    assert try_deploy(world, world.new)[0] == ExitCode.PREFLIGHT


def test_two_hosts_that_vanish_are_both_named(world: World) -> None:
    """Two of eight hosts dropping packets: the run ends within its deadlines and says which two."""

    def vanish() -> None:
        for name in ("h2", "h3"):
            world.truth[name].faults.add("ssh_hang")

    world.when("stop", vanish)
    began_ns = world.clock.monotonic_ns()
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.MIXED
    assert ending and {end.host for end in ending.hosts if end.problem} >= {"h2", "h3"}
    assert world.clock.monotonic_ns() - began_ns < 900 * 10**9
    assert_truth(world, code, ending, world.old, world.new, world.pids)
