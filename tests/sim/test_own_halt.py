"""What a fleet would be taken back to halts itself: its flag became a tombstone after it was left. Such a fleet is not brought back."""

from __future__ import annotations

from functools import partial

import pytest

from tests.sim.drive import BLUE_GREEN, ROLLING, assert_truth, try_abort, try_deploy
from tests.sim.turns import OLD_SLOT, dead, whole
from tests.sim.world import World
from tradeops.base.errors import ExitCode
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import Flag
from tradeops.deploy.rollback import rollback

FLAG = Flag("lean-to-mean", meaning_digest("Leans towards the mean."))


@pytest.fixture
def flagged(world: World) -> World:
    """The fleet runs a release that knows a flag, which is off; the next one does not know it."""
    world.old = world.release(3, flags=(FLAG,))
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    world.new = world.release(4)
    world.pids = world.pids_now()
    return world


def retire(world: World, *names: str) -> None:
    """The flag's tombstone reaches these hosts."""
    for name in names:
        world.truth[name].flags_retired = (FLAG.id,)


def test_a_slot_that_would_halt_itself_is_given_no_token(flagged: World) -> None:
    """D01, D05, O09: rollback in the warm time is exit 6, the hosts named with the trader's words; they traded on until it gave up."""
    dead(flagged, "end-standby")
    retire(flagged, "h2", "h5")
    ending = rollback(flagged.site(), flagged.old, BLUE_GREEN)
    assert ending.exit_code == ExitCode.MIXED
    assert_truth(flagged, ending.exit_code, ending, flagged.old, flagged.new, flagged.pids)
    problems = {end.host: end.problem for end in ending.hosts if end.problem}
    assert problems.keys() == {"h2", "h5"} and all("flag lean-to-mean is a tombstone" in said for said in problems.values())
    assert {name for name, host in flagged.truth.items() if not host.trading()} == {"h2", "h5"}
    assert not any(flagged.truth[name].writers() for name in problems)
    for host in flagged.truth.values():
        host.flags_retired = ()
    assert try_abort(flagged)[0] == ExitCode.PROVED
    whole(flagged, flagged.old, OLD_SLOT)


def test_a_slot_that_halts_itself_once_it_has_the_token_is_not_proved(flagged: World) -> None:
    """D01, D05: the tombstone comes between the last look and the token: what has the token is asked once more."""
    dead(flagged, "end-standby")
    flagged.when("cutover", partial(retire, flagged, "h2"))
    ending = rollback(flagged.site(), flagged.old, BLUE_GREEN)
    assert ending.exit_code == ExitCode.MIXED
    assert [end.host for end in ending.hosts if end.problem] == ["h2"] and not flagged.truth["h2"].trading()
    assert {(host.runs(), host.active) for host in flagged.truth.values()} == {(flagged.old, OLD_SLOT)}


def test_a_guard_that_is_silent_says_of_no_slot_that_it_is_fit(flagged: World) -> None:
    """D01: unknown is never yes, also of what stands by."""
    dead(flagged, "warm")
    flagged.when("prove-standby", partial(flagged.truth["h2"].faults.add, "guard_dead"))
    code, ending = try_abort(flagged)
    assert code == ExitCode.MIXED and ending and [end.host for end in ending.hosts if end.problem] == ["h2"]


def test_a_host_that_is_switched_back_and_halts_itself_is_not_back(flagged: World) -> None:
    """D01, D05: in its place too: exit 6."""
    broken = flagged.release(5, version="5-broken")
    flagged.when("prove", partial(retire, flagged, "h1"))
    code, ending = try_deploy(flagged, broken, ROLLING)
    assert code == ExitCode.MIXED, ending
    assert_truth(flagged, code, ending, flagged.old, broken, flagged.pids)
    assert ending and [(end.host, "is a tombstone" in end.problem) for end in ending.hosts if end.problem] == [("h1", True)]
    assert [name for name, host in flagged.truth.items() if not host.trading()] == ["h1"]
