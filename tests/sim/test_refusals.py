"""What a run must not do: undo what ended well, go forward by rolling back, trust a dead guard, keep a release that trips."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.sim.drive import BLUE_GREEN, ROLLING, try_abort, try_deploy
from tests.sim.world import FLEET, OperatorDied, SimReleases, World
from tradeops.base.errors import ExitCode, PreflightFailed, Refused, SignatureInvalid, UsageError
from tradeops.contracts.directive import ALL_HOSTS, Verb
from tradeops.contracts.policy import Policy
from tradeops.contracts.status import Mark, MarkKind
from tradeops.deploy.deploy import deploy, plan
from tradeops.deploy.journal import list_runs
from tradeops.deploy.rollback import release_before, rollback
from tradeops.deploy.takeup import abort
from tradeops.safety.directives import compose, sign
from tradeops.safety.kill import Roads, Swept, kill
from tradeops.safety.permit import refusals


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Eight hosts that trade release 2, before it release 1."""
    world = World(tmp_path)
    world.old = world.release(1)
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    world.new = world.release(2)
    assert try_deploy(world, world.new)[0] == ExitCode.PROVED
    world.pids = world.pids_now()
    return world


def test_a_run_that_ended_well_is_not_aborted(world: World) -> None:
    """D13: undoing a finished run is a rollback, with its guard; neither the newest nor an older run is aborted."""
    site = world.site()
    for journal in list_runs(site.runs):
        with pytest.raises(Refused, match="nothing to take up"):
            abort(site, journal)
    assert world.pids_now() == world.pids


def test_a_dead_run_that_was_followed_by_a_good_one_is_not_aborted(world: World) -> None:
    """A run that died is history once a later one has proved the fleet."""
    third = world.release(3)
    world.when("drain", world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, third)
    world.revive()
    died = list_runs(world.site().runs)[-1]
    world.clock.sleep_s(200)
    assert try_deploy(world, third)[0] == ExitCode.PROVED
    with pytest.raises(Refused, match="followed by") as caught:
        abort(world.site(), died)
    assert "tradeops resume --host" in str(caught.value.next)


def test_abort_does_not_touch_hosts_that_run_something_else(world: World) -> None:
    """A host on a release that the run knows nothing of is not taken anywhere."""
    third = world.release(3)
    world.when("stop", world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, third)
    world.revive()
    world.truth["h4"].tampered(world.release(9))
    assert try_abort(world)[0] == ExitCode.REFUSED


def test_a_release_that_nobody_entitled_signed_is_not_even_planned(world: World) -> None:
    """A05: refused on the operator's machine, before a host is asked for anything."""

    class Unsigned(SimReleases):
        def authors(self, release: str, policy: Policy) -> tuple[str, ...]:
            raise SignatureInvalid("the release carries no signature", where=release)

    new = world.release(3)
    site, before = dataclasses.replace(world.site(), releases=Unsigned(world.manifests)), len(world.seen)
    for act in (plan, deploy):
        with pytest.raises(SignatureInvalid):
            act(site, new, ROLLING)
    assert len(world.seen) == before


def test_a_second_rollback_does_not_go_forward(world: World) -> None:
    """Pressed twice, rollback stays where it went."""
    site = world.site()
    assert rollback(site, release_before(site), ROLLING).exit_code == ExitCode.PROVED
    with pytest.raises(UsageError, match="no earlier release"):
        release_before(site)


@pytest.mark.parametrize("fault", ["guard_dead", "guard_hang"])
def test_a_guard_that_does_not_answer_is_found_before_anything_is_touched(world: World, fault: str) -> None:
    """Promise 2: exit 3, nobody touched."""
    world.truth["h3"].faults.add(fault)
    assert try_deploy(world, world.release(3))[0] == ExitCode.PREFLIGHT
    assert world.pids_now() == world.pids


def test_a_release_that_trips_its_own_watchdog_is_taken_back(world: World) -> None:
    """A halt that comes while the first host starts to trade again is a failure of the release, not a finished deploy."""
    trip = Mark(MarkKind.HALT, "trip-1", "reconciliation", "position ABC: trader 1, drop copy 2", 0)
    world.when("resume", partial(world.truth["h1"].guard.mark, trip))
    code, ending = try_deploy(world, world.release(3))
    assert code in (ExitCode.MIXED, ExitCode.BROUGHT_BACK)
    assert ending and "resume failed on h1" in ending.title
    assert {host.runs() for host in world.truth.values()} == {world.new}


def test_a_host_whose_orders_still_work_is_not_started_again(world: World) -> None:
    """D13: zero working orders comes before going back; the host stays halted and is named."""
    world.when("start", partial(world.truth["h1"].faults.update, {"orders_stuck", "feed_dead"}))
    code, ending = try_deploy(world, world.release(3))
    assert code == ExitCode.MIXED
    assert ending and ending.hosts[0].host == "h1"
    assert not world.truth["h1"].trading()


def test_a_host_whose_trader_is_down_still_has_its_release(world: World) -> None:
    """A crashed trader does not make its host a new one: a failed run leaves it on the release that was linked there."""
    world.truth["h3"].reboot()
    code, _ = try_deploy(world, world.release(3, version="3-broken"))
    assert code in (ExitCode.MIXED, ExitCode.BROUGHT_BACK)
    assert world.truth["h3"].linked == world.new


def test_an_overlay_that_we_do_not_know_is_not_loosened(world: World) -> None:
    """A host with a newer overlay than ours is refused."""
    world.truth["h2"].overlay = 4
    assert try_deploy(world, world.release(3))[0] == ExitCode.REFUSED


def test_a_road_that_breaks_down_does_not_end_the_kill(world: World) -> None:
    """K04: a mistake on one road is a problem of the hosts it was for; the report comes out."""
    site = world.site()
    world.truth["h3"].faults.add("ssh_hang")

    def broken(_: Sequence[str], _limit_s: float) -> Sequence[Swept]:
        raise ValueError("no such venue")

    directive = compose(Verb.KILL, id="kill", fleet=FLEET, hosts=(ALL_HOSTS,), reason="drill", now_ns=0)
    roads = Roads(site.controls, site.agents, site.fan_out, site.clock, broken)
    report = kill(roads, site.hosts, sign(directive, world.key), "kill", deadline_s=5.0, told=lambda _: None)
    assert report.blocked() == 7
    assert "broke down" in report.hosts[0].problems["venue"]


def test_an_agent_that_answers_nonsense_is_its_host_s_problem(world: World) -> None:
    """K04: one bad answer does not end the road for the other hosts."""
    site = world.site()
    world.truth["h3"].faults.update({"guard_dead", "bad_answer"})
    world.truth["h4"].faults.add("guard_dead")
    directive = compose(Verb.KILL, id="kill", fleet=FLEET, hosts=(ALL_HOSTS,), reason="drill", now_ns=0)
    roads = Roads(site.controls, site.agents, site.fan_out, site.clock)
    report = kill(roads, site.hosts, sign(directive, world.key), "kill", deadline_s=3.0, told=lambda _: None)
    found = {host.host: host for host in report.hosts}
    assert found["h4"].road == "ssh"
    assert "not one" in found["h3"].problems["ssh"]


def test_a_halt_that_does_not_block_is_not_taken(world: World) -> None:
    """A guard that took a halt while its trader can still send has not halted."""
    site = world.site()
    world.truth["h5"].faults.add("trader_hung")
    envelope = sign(compose(Verb.HALT, id="halt", fleet=FLEET, hosts=(ALL_HOSTS,), reason="x", now_ns=0), world.key)
    replies = site.controls.direct(site.hosts, envelope, deadline_s=1.0)
    assert set(refusals(replies, list(world.truth), blocked=True)) == {"h5"}


def test_a_host_that_stands_by_is_not_deployed_to(world: World) -> None:
    """O09: a run replaces the slot that holds the token; a host that stands by has none."""
    world.truth["h3"].guard.mark(Mark(MarkKind.STANDBY, "s1", "operator-1", "cutover", 1))
    with pytest.raises(Refused, match="no slot is active"):
        deploy(world.site(), world.new, ROLLING)
    assert world.pids_now() == world.pids


def test_a_guard_that_does_not_know_what_will_be_said_to_it_is_found_before_anything_is_touched(world: World) -> None:
    """Exit 3 names the host, what its platform speaks, and what renews it; a playbook that says nothing new to it goes on."""
    third = world.release(3)
    world.truth["h4"].guard.speaks = 0
    with pytest.raises(PreflightFailed, match="h4: platform 000000000000 speaks 0, standby and activate need 1") as refused:
        deploy(world.site(), third, BLUE_GREEN)
    assert (refused.value.exit_code, refused.value.where) == (ExitCode.PREFLIGHT, "h4")
    assert "fleet enroll" in (refused.value.next or "")
    assert (world.pids_now(), list_runs(world.site().runs)[-1].plan().release) == (world.pids, world.new)
    assert try_deploy(world, third)[0] == ExitCode.PROVED


def test_a_guard_that_became_older_in_mid_run_keeps_the_run_from_being_taken_up(world: World) -> None:
    """A host came back from an old image: asked before the others are touched, and over when it is renewed."""
    world.when("warm", world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, third := world.release(3), BLUE_GREEN)
    world.revive()
    world.truth["h4"].guard.speaks = 0
    pids = world.pids_now()
    assert (try_abort(world)[0], world.pids_now()) == (ExitCode.PREFLIGHT, pids)
    assert {host.runs() for host in world.truth.values()} == {third}
    world.truth["h4"].guard.speaks = 1
    assert try_abort(world)[0] == ExitCode.PROVED
