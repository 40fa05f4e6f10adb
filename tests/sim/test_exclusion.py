"""A host that a run leaves out: on record, stopped, an open finding until it is proved again, and never part of a success."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from tests.sim.drive import ACTIVATE, ROLLING, SLOW, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.world import FLEET, OperatorDied, World
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode, KillIncomplete, Refused, TradeopsError, UsageError
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.manifest import Flag
from tradeops.contracts.status import MarkKind
from tradeops.deploy.asked import asked, expected_hosts
from tradeops.deploy.deploy import deploy, plan
from tradeops.deploy.exclusion import LIFE_S, exclusion_of
from tradeops.deploy.leftout import LeaveOut, strike
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.rollback import release_before, rollback
from tradeops.deploy.verdict import fleet_verdict, name_excluded

DEAD = LeaveOut(("h8",), "the board is dead")


def end_without(world: World, playbook: Playbook = ROLLING, leave_out: LeaveOut = DEAD) -> ExitCode:
    """Deploy release 2 without h8; what a person would see, held against the truth."""
    ending = deploy(world.site(), world.new, playbook, leave_out=leave_out)
    assert_truth(world, ending.exit_code, ending, world.old, world.new, world.pids)
    assert {end.host for end in ending.hosts if end.problem} >= set(leave_out.hosts)
    assert all(name in ending.title for name in leave_out.hosts)
    return ending.exit_code


def come_back(world: World) -> None:
    """The dead host is there again, and its trader starts as it did before."""
    host = world.truth["h8"]
    host.faults.clear()
    host.reboot()
    host._do_start(slot="blue")


def others(world: World) -> set[str | None]:
    """What the hosts but h8 run."""
    return {host.runs() for name, host in world.truth.items() if name != "h8"}


@pytest.mark.parametrize("fault", ["ssh_refused", "ssh_hang"])
def test_a_dead_host_is_left_out_and_the_fleet_is_not_called_proved(world: World, fault: str) -> None:
    """D01: seven proved, exit 6, and a kill that waits for the eighth; what should run there is what the others run."""
    world.truth["h8"].faults.add(fault)
    assert try_deploy(world, world.new)[0] == ExitCode.PREFLIGHT
    assert end_without(world) == ExitCode.MIXED
    assert others(world) == {world.new}
    site = world.site()
    assert set(asked(site.runs)) == set(world.truth) - {"h8"}
    expected = expected_hosts(site.runs, site.releases, site.bindings, overlay=0, flags_off={})
    assert expected["h8"].release == world.new
    assert ("exclude", "waits") in world.ledger.rows


def test_a_host_that_is_heard_is_killed_before_anything_is_switched(world: World) -> None:
    """Its disk is full, its guard answers: it takes no new risk, on the old release, and its permit is gone."""
    world.truth["h8"].faults.add("disk_full")
    world.when("stage", lambda: seen.append(world.truth["h8"].trading()))
    seen: list[bool] = []
    assert end_without(world) == ExitCode.MIXED
    assert seen == [False]
    assert world.truth["h8"].marks[0].kind is MarkKind.KILL
    assert world.truth["h8"].runs() == world.old
    assert ("exclude", "blocked") in world.ledger.rows


def test_a_host_that_is_heard_and_does_not_stop_keeps_the_run_from_beginning(world: World) -> None:
    """Exit 8, nobody else touched: excluded and trading on is what must not be."""
    world.truth["h8"].faults |= {"trader_hung", "bad_answer"}
    with pytest.raises(KillIncomplete, match="not confirmed blocked"):
        deploy(world.site(), world.new, ROLLING, leave_out=DEAD)
    assert world.pids_now() == world.pids
    assert all(host.lock is None for host in world.truth.values())


@pytest.mark.parametrize("phase", ["lock", "switch", "bake", "finish"])
def test_a_host_that_comes_back_in_mid_run_is_killed_and_named(world: World, phase: str) -> None:
    """Promise 5: it comes back trading the old release among new ones; the run hears it, stops it, and still ends with 6."""
    world.truth["h8"].faults.add("ssh_refused")
    world.when(phase, partial(come_back, world))
    assert end_without(world, SLOW) == ExitCode.MIXED
    assert not world.truth["h8"].trading()
    assert world.truth["h8"].runs() == world.old
    assert others(world) == {world.new}


def test_a_host_that_comes_back_later_is_killed_by_whoever_looks(world: World) -> None:
    """Then verify finds it odd by its release and by its exclusion; said again, the kill does nothing more."""
    world.truth["h8"].faults.add("ssh_refused")
    end_without(world)
    come_back(world)
    assert world.truth["h8"].trading()
    site = world.site()
    found = site.exclusions.standing(world.truth)
    assert [each.host for each in found] == ["h8"]
    for _ in range(2):
        strike(site.controls, site.hosts, found, deadline_s=1.0)
        assert [mark.kind for mark in world.truth["h8"].marks].count(MarkKind.KILL) == 1
    assert not world.truth["h8"].trading()
    expected = expected_hosts(site.runs, site.releases, site.bindings, overlay=0, flags_off={})
    verdict = fleet_verdict(site.hosts, lambda _: expected, site.agents, site.controls, site.fan_out, timeout_s=5, control_s=5)
    named = name_excluded(verdict, found, site.clock.wall_ns())
    assert next(iter(named.findings)) == "h8"
    assert named.exit_code() == ExitCode.DRIFT
    checks = {finding.check: finding.detail for finding in named.findings["h8"]}
    assert DEAD.reason in checks["excluded"] and "linked release" in checks


def test_a_host_that_is_proved_again_is_excluded_no_longer(world: World) -> None:
    """Back, and deployed to with all the others: exit 0, halted by its kill until two people permit; nothing is left open."""
    world.truth["h8"].faults.add("ssh_refused")
    end_without(world)
    come_back(world)
    strike(world.site().controls, world.site().hosts, world.site().exclusions.standing(world.truth), deadline_s=1.0)
    third = world.release(3)
    code, ending = try_deploy(world, third)
    assert (code, {host.runs() for host in world.truth.values()}) == (ExitCode.PROVED, {third})
    assert ending and [end.host for end in ending.hosts if not end.trading] == ["h8"]
    assert world.site().exclusions.standing(world.truth) == ()
    assert ("include", "lifted") in world.ledger.rows


def test_an_exclusion_expires(world: World) -> None:
    """A run that was begun with one is not carried on after its end, and the host stays an open finding; abort is always open."""
    world.truth["h8"].faults.add("ssh_refused")
    world.when("switch", world.die)
    with pytest.raises(OperatorDied):
        deploy(world.site(), world.new, ROLLING, leave_out=DEAD)
    world.revive()
    world.clock.sleep_s(LIFE_S)
    assert try_resume(world)[0] == ExitCode.REFUSED
    assert try_deploy(world, world.new)[0] == ExitCode.PREFLIGHT
    (found,) = world.site().exclusions.standing(world.truth)
    assert "expired" in found.words(world.clock.wall_ns())
    code, ending = try_abort(world)
    assert (code, ending and ending.own, others(world)) == (ExitCode.MIXED, ExitCode.PROVED, {world.old})


def test_a_run_without_a_host_is_taken_up_without_it(world: World) -> None:
    """Resumed while the exclusion stands, it ends as it would have; then there is nothing left to take up."""
    world.truth["h8"].faults.add("ssh_refused")
    world.when("start", world.die)
    with pytest.raises(OperatorDied):
        deploy(world.site(), world.new, ROLLING, leave_out=DEAD)
    world.revive()
    code, ending = try_resume(world)
    assert (code, ending and ending.own, others(world)) == (ExitCode.MIXED, ExitCode.PROVED, {world.new})
    assert try_resume(world)[0] == ExitCode.REFUSED


def test_a_lifted_exclusion_leaves_nobody_out(world: World) -> None:
    """By hand, with a reason, once; the run that it was for is not resumed without the host."""
    world.truth["h8"].faults.add("ssh_refused")
    world.when("start", world.die)
    with pytest.raises(OperatorDied):
        deploy(world.site(), world.new, ROLLING, leave_out=DEAD)
    world.revive()
    exclusions = world.site().exclusions
    with pytest.raises(UsageError, match="reason"):
        exclusions.lift("h8", by="operator-1", why=" ")
    assert exclusions.lift("h8", by="operator-1", why="a mistake").host == "h8"
    with pytest.raises(UsageError, match="no exclusion"):
        exclusions.lift("h8", by="operator-1", why="again")
    assert try_resume(world)[0] == ExitCode.REFUSED


def test_a_bad_release_is_taken_back_without_the_host_that_is_out(world: World) -> None:
    """Exit 6 and not 11: that the others are back says nothing of the eighth."""
    broken = world.release(3, version="3-broken")
    world.truth["h8"].faults.add("ssh_refused")
    ending = deploy(world.site(), broken, ROLLING, leave_out=DEAD)
    assert (ending.exit_code, ending.own, others(world)) == (ExitCode.MIXED, ExitCode.BROUGHT_BACK, {world.old})


def test_going_back_does_not_wait_for_a_dead_host(world: World) -> None:
    """A rollback leaves out as a deploy does."""
    try_deploy(world, world.new)
    world.truth["h8"].faults.add("ssh_refused")
    site = world.site()
    ending = rollback(site, release_before(site), ROLLING, leave_out=DEAD)
    assert (ending.exit_code, ending.own, others(world)) == (ExitCode.MIXED, ExitCode.PROVED, {world.old})


def test_what_a_selection_must_be(world: World) -> None:
    """No stranger, not everybody, no fewer than the policy wants, a reason; nothing is touched then."""
    site = world.site()
    for hosts, reason, error, words in (
        (("h9",), "x", UsageError, "h9"),
        (tuple(world.truth), "x", UsageError, "every host"),
        (("h5", "h6", "h7", "h8"), "x", Refused, "wants 5"),
        (("h8",), " ", UsageError, "reason"),
    ):
        with pytest.raises(error, match=words):
            deploy(site, world.new, ROLLING, leave_out=LeaveOut(hosts, reason))
    assert world.pids_now() == world.pids
    assert all(host.lock is None and not host.marks for host in world.truth.values())
    assert site.exclusions.standing(world.truth) == ()


def test_only_who_may_exclude_does(world: World) -> None:
    """The policy says who; the host is not stopped then either."""
    world.policy = type(world.policy)(world.policy.schema, world.policy.fleet, 1, world.policy.people, {"operator": ("deploy", "kill")})
    with pytest.raises(Refused, match="exclude needs"):
        deploy(world.site(), world.new, ROLLING, leave_out=DEAD)
    assert world.truth["h8"].trading()
    assert world.ledger.rows[-1] == ("exclude", "Refused")


def test_the_plan_says_who_is_left_out(world: World) -> None:
    """Its digest binds that; a plan excludes nobody by itself."""
    site = world.site()
    drawn = plan(site, world.new, ROLLING, exclude=("h8",))
    assert drawn.excluded == ("h8",) and "h8" not in {part.host for part in drawn.hosts}
    assert site.exclusions.standing(world.truth) == ()
    with pytest.raises(Refused, match="moved"):
        deploy(site, world.new, ROLLING, plan_digest=drawn.digest())
    assert deploy(site, world.new, ROLLING, plan_digest=drawn.digest(), leave_out=DEAD).own == ExitCode.PROVED


def test_no_flag_goes_on_while_a_host_is_out(world: World) -> None:
    """D07: what it would mean there is not known."""
    try_deploy(world, world.release(2, flags=(Flag("rlp", "m"),)))
    on = world.release(3, flags=(Flag("rlp", "m", on=True),))
    with pytest.raises(Refused, match="excluded"):
        deploy(world.site(), on, ACTIVATE, leave_out=DEAD)
    assert world.truth["h8"].trading()


def test_an_exclusion_that_cannot_be_read_is_not_passed_over(world: World) -> None:
    """Unknown is not none."""
    world.truth["h8"].faults.add("ssh_refused")
    end_without(world)
    (kept,) = world.site().exclusions.folder.iterdir()
    kept.write_bytes(b"{")
    with pytest.raises(TradeopsError, match="not a Entry"):
        world.site().exclusions.standing(["h8"])


def test_a_host_that_comes_back_while_a_wave_is_waited_for_is_killed_within_seconds(world: World) -> None:
    """Promise 5: the wave takes long to prove; old and new trade side by side no longer than between two looks."""
    world.truth["h8"].faults.add("ssh_refused")
    began_ns: list[int] = []

    def back() -> None:
        come_back(world)
        for name in ("h2", "h3"):
            world.truth[name].faults.add("lying_guard")
        began_ns.append(world.clock.wall_ns())

    world.when("prove", partial(world.when, "prove", back))
    assert deploy(world.site(), world.new, ROLLING, leave_out=DEAD).exit_code == ExitCode.MIXED
    assert not world.truth["h8"].trading()
    (kill,) = (mark for mark in world.truth["h8"].guard.at().marks if mark.kind is MarkKind.KILL)
    assert 0 < kill.since_wall_ns - began_ns[0] < 8 * NS_PER_S


@pytest.mark.parametrize("what", ["host", "fleet", "schema"])
def test_an_exclusion_of_another_host_or_fleet_is_none(world: World, what: str) -> None:
    """A signed file under another host's name, from another fleet, or of another kind leaves nobody out: it is refused aloud."""
    world.truth["h8"].faults.add("ssh_refused")
    world.when("switch", world.die)
    with pytest.raises(OperatorDied):
        deploy(world.site(), world.new, ROLLING, leave_out=DEAD)
    world.revive()
    exclusions = world.site().exclusions
    meant = exclusion_of(
        ("h7",) if what == "host" else ("h8",),
        id="e1",
        fleet="other" if what == "fleet" else FLEET,
        by="operator-1",
        reason="x",
        now_ns=world.clock.wall_ns(),
    )
    meant = replace(meant, schema="tradeops/exclusion/v2") if what == "schema" else meant
    exclusions.put(meant, Envelope("", ()), world.key, world.policy)
    if what == "host":
        (exclusions.folder / "h7.json").rename(exclusions.folder / "h8.json")
    with pytest.raises(UsageError, match="no exclusion of h8"):
        exclusions.require(("h8",), world.policy, world.clock.wall_ns())
    with pytest.raises(UsageError, match="no exclusion of h8"):
        exclusions.standing(world.truth)
    assert try_resume(world)[0] == ExitCode.USAGE
