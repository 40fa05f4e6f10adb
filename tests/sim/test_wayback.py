"""The way back is seen before a run begins: whole on every host, and able to take over; else nobody is touched, or somebody has read it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from tests.sim.drive import BLUE_GREEN, CANARY, ROLLING, assert_truth, try_deploy
from tests.sim.mishaps import damage, trip
from tests.sim.world import World
from tradeops.base.errors import ExitCode, PreflightFailed, Refused
from tradeops.contracts.agent import Proof
from tradeops.deploy import wayback
from tradeops.deploy.deploy import deploy, plan


def test_the_plan_says_where_the_hosts_would_go_back_to(world: World) -> None:
    """D13: per release that runs now, and for hosts that run none; the digest binds it."""
    empty = world.truth["h7"].slot
    empty.process = empty.linked = None
    drawn = plan(world.site(), world.new, ROLLING)
    assert [said.partition(" back to ")[0] for said in drawn.back] == ["h1, h2, h3, h4, h5, h6, h8", "h7"]
    assert "hashed there" in drawn.back[0] and drawn.risks == ()
    assert "brought again" in plan(world.site(), world.old, ROLLING).back[0]


def test_a_damaged_way_back_is_found_before_anything_is_touched(world: World) -> None:
    """D13: exit 3 by plan and deploy, the host and its file named; deployed once more, what runs now is whole again."""
    damage(world.truth["h5"])
    with pytest.raises(PreflightFailed, match=r"lib/strategy\.py") as caught:
        plan(world.site(), world.new, ROLLING)
    assert caught.value.where == "h5"
    assert try_deploy(world, world.new)[0] == ExitCode.PREFLIGHT
    assert world.pids_now() == world.pids
    assert all(host.lock is None for host in world.truth.values())
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    assert try_deploy(world, world.new)[0] == ExitCode.PROVED


@pytest.mark.parametrize("how", ["gone", "silent"])
def test_a_way_back_that_is_not_there_is_none(world: World, how: str) -> None:
    """D13: pruned by hand, or a host that does not prove what it runs."""
    if how == "gone":
        world.truth["h2"].releases.discard(world.old)
    else:
        world.truth["h2"].faults.add("lost_prove")
    with pytest.raises(PreflightFailed, match="h2"):
        plan(world.site(), world.new, ROLLING)


def test_a_plan_without_a_sure_way_back_is_carried_out_by_its_digest_alone(world: World) -> None:
    """D13: a journal that the old release cannot read, said in the plan; going back is refused when it comes to that."""
    newer = world.release(3, version="3-broken", journal=2)
    drawn = plan(world.site(), newer, ROLLING)
    assert len(drawn.risks) == 1 and "journal is of version 2" in drawn.risks[0]
    with pytest.raises(Refused, match="no sure way back") as caught:
        deploy(world.site(), newer, ROLLING)
    assert drawn.digest() in str(caught.value.next)
    assert world.pids_now() == world.pids
    ending = deploy(world.site(), newer, ROLLING, plan_digest=drawn.digest())
    assert ending.exit_code == ExitCode.MIXED
    assert ending.hosts[0].host == "h1" and "going back is not safe" in ending.hosts[0].problem


def test_a_host_that_runs_what_its_link_does_not_lead_to(world: World) -> None:
    """Whether that could be gone back to is not known, so it is a risk and no success."""
    other = world.release(9)
    world.truth["h3"].slot.linked = other
    assert any("h3" in risk and "not known" in risk for risk in plan(world.site(), world.new, ROLLING).risks)
    assert try_deploy(world, world.new)[0] == ExitCode.REFUSED


def test_files_that_could_not_be_compared_are_not_taken_for_whole() -> None:
    """D13: an agent that hashed nothing has found nothing wrong."""
    proof = Proof("blue", "sha256:1", None, "active", None, (), 0, (), (), None, None, 0)
    assert "no file of it was hashed" in wayback.damage(proof)
    assert wayback.damage(msgspec.structs.replace(proof, files_checked=9)) == ""
    assert wayback.damage(msgspec.structs.replace(proof, files_checked=9, bad_files=("a", "b"))) == "damaged there: a and 1 more"


def nth(world: World, phase: str, n: int, act: Callable[[], None]) -> None:
    """Do it when a phase of this name begins for the `n`th time."""
    for _ in range(n - 1):
        act = partial(world.when, phase, act)
    world.when(phase, act)


def slow_down(world: World) -> None:
    """Every process takes a second to say what it is, and to begin to write."""
    for host in world.truth.values():
        host.slow_s = 1.0


def test_one_host_that_does_not_come_up_condemns_no_other(world: World) -> None:
    """D01: on the way back the others are waited for: exit 6 for the one, seven proved on the old release, trading."""

    def fail() -> None:
        slow_down(world)
        world.bad.add(world.new)
        world.truth["h3"].faults.add("does_not_start")

    nth(world, "gate", 3, fail)
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.MIXED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and [end.host for end in ending.hosts if end.problem] == ["h3"]
    assert {end.release for end in ending.hosts if end.host != "h3"} == {world.old}
    assert [name for name, host in world.truth.items() if not host.trading()] == ["h3"]


def test_a_host_that_was_halted_keeps_no_other_from_taking_over_again(world: World) -> None:
    """D11: tripped in the warm time: every old slot is given its token and waited for; the tripped one alone does not trade."""

    def tripped() -> None:
        slow_down(world)
        trip(world.truth["h2"])

    world.when("warm", tripped)
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.BROUGHT_BACK, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and [end.host for end in ending.hosts if "halted by reconciliation" in end.state] == ["h2"]
    assert {host.runs() for host in world.truth.values()} == {world.old}
    assert [name for name, host in world.truth.items() if not host.trading()] == ["h2"]
