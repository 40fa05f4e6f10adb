"""Whole runs of a service that is not ours: it has no gate, so it runs on permitted hosts or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.drive import assert_truth, force_deploy, try_abort, try_deploy
from tests.sim.world import OperatorDied, World
from tradeops.base.errors import ExitCode
from tradeops.contracts.manifest import Start
from tradeops.contracts.status import Mark, MarkKind
from tradeops.deploy.site import PhaseProgress

START = Start(("{python}", "{tree}/serve.py"), identity="/identity", health="/health", port=8080)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Eight permitted hosts that run release 1 of it; release 2 is built."""
    world = World(tmp_path)
    for host in world.truth.values():
        host.kind = "url"
    world.old = world.release(1, limits=False, start=START)
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    world.new = world.release(2, limits=False, start=START)
    world.pids = world.pids_now()
    return world


def test_it_is_proved_without_being_halted(world: World) -> None:
    """D01: the same proof; no halt is sent, which would end it."""
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.PROVED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert not any(isinstance(told, PhaseProgress) and told.phase == "drain" for told in world.seen)


@pytest.mark.parametrize("kind", [MarkKind.KILL, MarkKind.UNARMED, MarkKind.HALT])
def test_where_a_mark_stands_it_is_not_deployed(world: World, kind: MarkKind) -> None:
    """K06, K07: exit 9, nothing touched; two people permit it first."""
    world.truth["h4"].guard.mark(Mark(kind, "mark-1", "operator-2", "stop", 0))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.REFUSED
    assert_truth(world, code, ending, world.old, world.new, world.pids)


def test_a_host_enrolled_for_the_trader_does_not_take_it(world: World) -> None:
    """A release does not choose whether it obeys a gate."""
    world.truth["h2"].kind = "vitals"
    assert try_deploy(world, world.new)[0] == ExitCode.PREFLIGHT
    world.truth["h2"].kind = "url"
    assert try_deploy(world, world.release(3))[0] == ExitCode.PREFLIGHT


def test_one_that_does_not_come_up_is_taken_back(world: World) -> None:
    """Exit 11: every host serves the old release."""
    broken = world.release(4, version="4-broken", limits=False, start=START)
    code, ending = try_deploy(world, broken)
    assert code == ExitCode.BROUGHT_BACK, ending
    assert_truth(world, code, ending, world.old, broken, world.pids)


def test_what_cannot_be_proved_is_ended_and_stays_so(world: World) -> None:
    """Exit 6: halted means that it does not run; the others serve the old release."""
    world.when("start", lambda: world.truth["h1"].faults.add("flipped_byte"))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.MIXED
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert world.truth["h1"].process is None and world.truth["h1"].marks
    assert {host.runs() for name, host in world.truth.items() if name != "h1"} == {world.old}


@pytest.mark.parametrize("phase", ["stop", "start", "prove"])
def test_a_kill_in_the_middle_ends_it_everywhere(world: World, phase: str) -> None:
    """Exit 12, and nothing runs; after a permit the run is undone."""

    def kill() -> None:
        for host in world.truth.values():
            host.guard.mark(Mark(MarkKind.KILL, "kill-1", "operator-2", "stop", 0))
            host.slot.process = None

    world.when(phase, kill)
    code, _ = try_deploy(world, world.new)
    assert code in (ExitCode.KILLED, ExitCode.MIXED)
    assert not any(host.process for host in world.truth.values())
    for host in world.truth.values():
        host.guard.clear()
    assert try_abort(world)[0] == ExitCode.PROVED
    assert {host.runs() for host in world.truth.values()} == {world.old}


def test_abort_after_the_operator_died(world: World) -> None:
    """Whatever had been stopped runs the old release again."""
    world.when("start", world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new)
    world.revive()
    assert try_abort(world)[0] == ExitCode.PROVED
    assert {host.runs() for host in world.truth.values()} == {world.old}


def test_past_the_doors_it_is_not_started_where_it_may_not(world: World) -> None:
    """The host itself refuses."""
    world.truth["h1"].guard.mark(Mark(MarkKind.KILL, "kill-1", "operator-2", "stop", 0))
    assert force_deploy(world, world.new).exit_code == ExitCode.MIXED
    assert world.truth["h1"].process is None
