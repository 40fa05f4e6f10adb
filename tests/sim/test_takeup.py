"""Runs that died, were held, or have a twin: taken up from what the hosts say, under a higher fence, to a named end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from tests.sim.drive import BLUE_GREEN, ROLLING, SLOW, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.mishaps import damage
from tests.sim.world import OperatorDied, World, make_host
from tradeops.base.errors import ExitCode, Refused, UsageError
from tradeops.contracts.status import MarkKind
from tradeops.deploy.asked import expected_hosts
from tradeops.deploy.ending import Ending
from tradeops.deploy.journal import Journal, ending_of, list_runs
from tradeops.deploy.leftout import LeaveOut
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.site import Site
from tradeops.deploy.takeup import abort, resume

PHASES = ("lock", "stage", "drain", "stop", "switch", "start", "prove", "smoke", "lease", "resume", "bake", "let-go", "finish")


def die_at(world: World, phase: str, *, after: int = 0) -> None:
    """The operator is killed when the phase begins for the `after + 1`th time."""
    act = world.die
    for _ in range(after):
        act = partial(world.when, phase, act)
    world.when(phase, act)


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("phase", PHASES)
def test_a_dead_run_is_resumed_to_the_end_it_would_have_reached(world: World, phase: str, after: int) -> None:
    """Killed in every phase, taken up from what the hosts say: every host proved and trading, nothing locked, leased or held."""
    die_at(world, phase, after=0 if phase in ("lock", "stage", "let-go", "finish") else after)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, SLOW)
    world.revive()
    assert ending_of(list_runs(world.site().runs)[-1]) == "unfinished"
    code, ending = try_resume(world)
    assert code == ExitCode.PROVED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    for host in world.truth.values():
        assert host.trading()
        assert host.lock is None
        assert host.guard.at().lease is None
        assert host.guard.at().flow_cap_ppm is None


@pytest.mark.parametrize("phase", ["resume", "bake"])
def test_hosts_that_have_not_passed_are_held_when_their_run_falls_silent(world: World, phase: str) -> None:
    """The canary's guard holds it when the lease lapses, under its cap; the others trade on; the run's resume lifts the hold."""
    die_at(world, phase)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, SLOW)
    world.revive()
    world.clock.sleep_s(SLOW.lease + 1)
    canary = world.truth["h1"]
    assert MarkKind.HOLD in [mark.kind for mark in canary.marks]
    assert canary.guard.at().flow_cap_ppm == 800_000
    assert [name for name, host in world.truth.items() if host.trading()] == [f"h{n}" for n in range(2, 9)]
    assert try_resume(world)[0] == ExitCode.PROVED
    assert all(host.trading() for host in world.truth.values())


def test_a_held_host_is_aborted_too(world: World) -> None:
    """The way back ends the hold as well: every host on the old release, trading, uncapped."""
    die_at(world, "bake")
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, SLOW)
    world.revive()
    world.clock.sleep_s(SLOW.lease + 1)
    code, ending = try_abort(world)
    assert code == ExitCode.PROVED, ending
    assert {host.runs() for host in world.truth.values()} == {world.old}
    assert all(host.trading() and host.guard.at().flow_cap_ppm is None for host in world.truth.values())


@pytest.mark.parametrize("phase", ["drain", "stop", "switch", "prove", "resume", "bake", "finish"])
def test_a_twin_is_refused_and_ends_named(world: World, phase: str) -> None:
    """A run that was taken up elsewhere while it stood still: its next verb is refused, it ends with 7, the other one's end stands."""
    ends = []
    world.when(phase, lambda: ends.append(try_resume(world)))
    code, ending = try_deploy(world, world.new, SLOW)
    assert [end[0] for end in ends] == [ExitCode.PROVED]
    assert code == ExitCode.LOCKED
    assert ending and "replaced" in ending.title
    assert {host.runs() for host in world.truth.values()} == {world.new}
    assert all(host.trading() and host.lock is None for host in world.truth.values())
    assert ending_of(list_runs(world.site().runs)[-1]).startswith("every one of 8 hosts proved")


def test_a_run_that_was_going_back_goes_on_going_back(world: World) -> None:
    """The decision is written down before the first host is taken back: resumed, the run ends as it would have."""
    broken = world.release(3, version="3-broken")
    world.when("prove", lambda: die_at(world, "drain"))
    with pytest.raises(OperatorDied):
        try_deploy(world, broken)
    world.revive()
    code, ending = try_resume(world)
    assert code == ExitCode.BROUGHT_BACK, ending
    assert {host.runs() for host in world.truth.values()} == {world.old}
    assert all(host.trading() for host in world.truth.values())


def test_a_rebooted_host_is_locked_again_before_it_is_taken_back(world: World) -> None:
    """A lock ends with the host's boot; going back takes it anew, so that the host ends proved and not just named."""

    def reboot() -> None:
        world.truth["h1"].reboot()
        world.truth["h1"].lock = None

    world.when("smoke", reboot)
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.BROUGHT_BACK, ending
    assert {host.runs() for host in world.truth.values()} == {world.old}


def test_a_target_that_is_damaged_is_not_gone_back_to(world: World) -> None:
    """D13: the host stays halted on the new release, named; exit 6."""
    world.when("stage", partial(damage, world.truth["h1"]))
    world.when("smoke", partial(world.truth["h1"].faults.add, "feed_dead"))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.MIXED
    assert ending and ending.hosts[0].host == "h1"
    assert not world.truth["h1"].trading()
    assert world.truth["h1"].linked == world.new


def test_resume_touches_nothing_while_a_host_is_away(world: World) -> None:
    """Exit 3; the run stays open, and is resumed when the host is back."""
    die_at(world, "switch")
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, ROLLING)
    world.revive()
    world.truth["h7"].faults.add("ssh_refused")
    assert try_resume(world)[0] == ExitCode.PREFLIGHT
    world.truth["h7"].faults.clear()
    assert try_resume(world)[0] == ExitCode.PROVED
    assert try_resume(world)[0] == ExitCode.REFUSED


def test_resume_that_finds_a_host_locked_leaves_the_run_open(world: World) -> None:
    """Exit 7, nothing switched by it, and not the run's end."""
    die_at(world, "switch")
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, ROLLING)
    world.revive()
    world.truth["h6"].lock = ("other", 99, world.clock.monotonic_ns() + 10**12)
    assert try_resume(world)[0] == ExitCode.LOCKED
    world.truth["h6"].lock = None
    assert try_resume(world)[0] == ExitCode.PROVED


def test_a_canary_that_turns_into_something_else_fails_the_step(world: World) -> None:
    """A host that comes back with the old release in mid-bake is no canary: exit 11, all proved back."""
    world.when("bake", partial(world.truth["h1"].tampered, world.old))
    code, ending = try_deploy(world, world.new, SLOW)
    assert code == ExitCode.BROUGHT_BACK, ending
    assert ending and "h1" in ending.causes


def test_a_canary_whose_agent_is_gone_is_halted_all_the_same(world: World) -> None:
    """Its guard still answers: what failed takes no new risk, whoever can be asked."""
    world.when("smoke", partial(world.truth["h1"].faults.update, {"feed_dead", "agent_gone"}))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.MIXED
    assert ending and ending.hosts[0].host == "h1"
    assert MarkKind.HALT in [mark.kind for mark in world.truth["h1"].marks]
    assert not world.truth["h1"].trading()


@pytest.mark.parametrize("how", [resume, abort])
def test_a_run_whose_hosts_are_not_the_fleet_s_any_more_is_not_taken_up(world: World, how: Callable[[Site, Journal], Ending]) -> None:
    """A host that went out of the fleet file, or came into it, in the middle of a run: refused by its name, nothing touched."""
    die_at(world, "switch")
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, SLOW)
    world.revive()
    site, pids = world.site(), world.pids_now()
    journal = list_runs(site.runs)[-1]
    for hosts, name in ((site.hosts[:-1], "h8"), ((*site.hosts, make_host("h9")), "h9")):
        with pytest.raises(Refused, match="other hosts") as caught:
            how(replace(site, hosts=hosts), journal)
        assert caught.value.where == name and name in f"{caught.value.what} {caught.value.next}"
    assert world.pids_now() == pids
    assert try_abort(world)[0] == ExitCode.PROVED


@pytest.mark.parametrize("book", [SLOW, BLUE_GREEN])
def test_a_run_whose_host_is_gone_for_good_is_undone_without_it(world: World, book: Playbook) -> None:
    """D01, promise 5: the board dies in mid-run: the others are brought back and trade; exit 6, the host is out, killed when heard."""
    die_at(world, "cutover" if book is BLUE_GREEN else "start", after=1)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, book)
    world.revive()
    world.clock.sleep_s(book.lease + 1)
    gone = world.truth["h8"]
    gone.faults.add("ssh_refused")
    assert try_abort(world)[0] == ExitCode.PREFLIGHT
    site = world.site()
    journal = list_runs(site.runs)[-1]
    with pytest.raises(UsageError, match="h9"):
        abort(site, journal, leave_out=LeaveOut(("h9",), "dead"))
    world.when("regain", world.die)
    with pytest.raises(OperatorDied):
        abort(site, journal, leave_out=LeaveOut(("h8",), "dead"))
    world.revive()
    code, ending = try_abort(world)
    assert (code, ending and ending.own) == (ExitCode.MIXED, ExitCode.PROVED), ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert {(host.runs(), host.trading()) for name, host in world.truth.items() if name != "h8"} == {(world.old, True)}
    assert [each.host for each in site.exclusions.standing(world.truth)] == ["h8"]
    expected = expected_hosts(site.runs, site.releases, site.bindings, overlay=0, flags_off={})
    assert {want.release for want in expected.values()} == {world.old} and "h8" in expected
    with pytest.raises(Refused, match="ended well"):
        resume(site, journal)
    gone.faults.clear()
    third = world.release(3)
    assert try_deploy(world, third)[0] == ExitCode.PROVED
    assert {host.runs() for host in world.truth.values()} == {third}
