"""Two slots that hand working orders over: whole runs of real deploy code and a guard's real rules, and what becomes of the orders."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
from msgspec.structs import replace

from tests.sim.binding import make_binding
from tests.sim.drive import ADOPTING, BLUE_GREEN, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.samples import ERRORS, SPEC
from tests.sim.turns import NEW_SLOT, OLD_SLOT, die_at, whole
from tests.sim.world import OperatorDied, World
from tradeops.base.errors import ExitCode, PreflightFailed, Refused
from tradeops.cli.ending import plan_report
from tradeops.contracts.binding import Binding, Venue
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.envelope import Envelope
from tradeops.deploy.deploy import deploy, plan
from tradeops.deploy.journal import list_runs
from tradeops.gates.spec import GateSpec


def _cleared(world: World) -> set[str]:
    """Hosts on which at some time since nothing worked."""
    return {name for name, host in world.truth.items() if host.cleared}


def _begin(world: World) -> None:
    for host in world.truth.values():
        host.cleared = False


def _notes(world: World) -> dict[str, str]:
    """What the run's journal says became of the orders of each host."""
    told: dict[str, str] = {}
    for entry in list_runs(world.site().runs)[-1].entries():
        if entry.phase == "orders":
            told |= {name: note for name, note in entry.detail.items() if name in world.truth}
    return told


def test_orders_work_through_the_cutover(world: World) -> None:
    """O09: at no moment is a host without them; the plan says which way, and its digest is another."""
    _begin(world)
    ways = [plan(world.site(), world.new, way) for way in (BLUE_GREEN, ADOPTING)]
    words = ["; ".join(plan_report(drawn).lines) for drawn in ways]
    assert "cancelled and proved gone" in words[0] and "left at work over an orderly logout" in words[1]
    assert len({drawn.digest() for drawn in ways}) == 2
    code, ending = try_deploy(world, world.new, ADOPTING)
    assert code == ExitCode.PROVED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    whole(world, world.new, NEW_SLOT)
    assert _cleared(world) == set() and set(_notes(world).values()) == {"adopted: 3 orders work"}
    assert try_deploy(world, world.release(3), BLUE_GREEN)[0] == ExitCode.PROVED
    assert _cleared(world) == set(world.truth) and _notes(world) == {}


def test_orders_that_are_not_known_are_cancelled_and_the_run_goes_on(world: World) -> None:
    """The safe side, said aloud: the host takes over with nothing at work."""
    _begin(world)
    world.truth["h1"].faults.add("orders_strange")
    code, ending = try_deploy(world, world.new, ADOPTING)
    assert code == ExitCode.PROVED, ending
    whole(world, world.new, NEW_SLOT)
    assert _cleared(world) == {"h1"}
    assert "not adopted, but cancelled: c9 works at sim" in _notes(world)["h1"]


@pytest.mark.parametrize("gate", [1, 3])
def test_what_a_rejected_release_has_at_work_is_never_adopted(world: World, gate: int) -> None:
    """D11: the canary is stood down at once, and its orders are cancelled; so are those of hosts that had passed, and nobody else's."""
    act = partial(world.bad.add, world.new)
    for _ in range(gate):
        act = partial(world.when, "gate", act)
    act()
    _begin(world)
    error_rate = {"kind": "ratio", "events": ERRORS, "limit": "3%", "margin": 4.0}
    strict = GateSpec.model_validate({**SPEC, "every": "4s", "metrics": {"error_rate": error_rate}})
    code, ending = try_deploy(world, world.new, ADOPTING.model_copy(update={"gate": strict}))
    assert code == ExitCode.ROLLED_BACK, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    whole(world, world.old, OLD_SLOT)
    assert _cleared(world) == ({"h1"} if gate == 1 else set(world.truth))


@pytest.mark.parametrize("then", [try_resume, try_abort])
@pytest.mark.parametrize("phase", ["cutover", "prove", "warm"])
def test_killed_anywhere_and_taken_up(world: World, phase: str, then: object) -> None:
    """Whoever takes it up reaches an end with one slot everywhere; orders that nobody took over meanwhile are gone."""
    die_at(world, phase, after=1 if phase != "warm" else 0)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, ADOPTING)
    world.revive()
    world.clock.sleep_s(BLUE_GREEN.lease + 1)
    assert not any(mark.keeps_orders for host in world.truth.values() for mark in host.marks)
    code, ending = (try_resume if then is try_resume else try_abort)(world)
    assert code == ExitCode.PROVED, ending
    whole(world, *((world.new, NEW_SLOT) if then is try_resume else (world.old, OLD_SLOT)))


def test_guards_and_venues_that_cannot_are_named_before_anything_is_touched(world: World) -> None:
    """Exit 3 for a guard that is too old for it, 9 for a venue that drops orders at a logout; `cancel` goes on."""
    world.truth["h4"].guard.speaks = 1
    with pytest.raises(PreflightFailed, match="h4: platform 000000000000 speaks 1, standby and activate need 2"):
        deploy(world.site(), world.new, ADOPTING)
    world.truth["h4"].guard.speaks = 2
    bound = decode(make_binding("h5").body(), Binding, source="test")
    drops = replace(bound, venues=(Venue("xsim", "ws://o", "ws://m", "ws://d", "A"),))
    site = world.site()
    with pytest.raises(Refused, match=r"logs out \(xsim on h5\)"):
        deploy(dataclasses.replace(site, bindings={**site.bindings, "h5": Envelope.of(encode(drops))}), world.new, ADOPTING)
    assert world.pids_now() == world.pids
