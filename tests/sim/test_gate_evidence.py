"""What a gate has seen is kept with the run, however the bake ended and however often the run was taken up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from tests.sim.drive import CANARY, try_deploy, try_resume
from tests.sim.world import OperatorDied, World
from tradeops.base.durable import read_bounded
from tradeops.base.errors import ExitCode
from tradeops.contracts.codec import decode
from tradeops.contracts.status import Mark, MarkKind
from tradeops.deploy.deploy import deploy
from tradeops.deploy.journal import list_runs
from tradeops.deploy.site import GateProgress, Told
from tradeops.gates.evidence import Ruling, Trace


def kept(world: World, name: str) -> Trace:
    """One gate's evidence of the newest run."""
    path = list_runs(world.site().runs)[-1].folder / name
    return decode(read_bounded(path, 1 << 24), Trace, source=str(path))


def page(world: World) -> str:
    """All of them drawn."""
    return (list_runs(world.site().runs)[-1].folder / "gates.html").read_text()


def mark(world: World, kind: MarkKind, *names: str) -> None:
    """Somebody else stops these hosts."""
    for name in names:
        world.truth[name].guard.mark(Mark(kind, f"{kind}-1", "operator-2", "stop", 0))


def halted(world: World) -> None:
    """The canary alone."""
    mark(world, MarkKind.HALT, "h1")


def killed(world: World) -> None:
    """Every host."""
    mark(world, MarkKind.KILL, *world.truth)


def taken_up(world: World) -> None:
    """By another session, which carries it to its end."""
    assert try_resume(world)[0] == ExitCode.PROVED


@pytest.mark.parametrize("ended", [halted, killed, taken_up])
def test_a_bake_that_something_else_ended_leaves_its_evidence(world: World, ended: Callable[[World], None]) -> None:
    """D11: a mark, a kill and a later session end it without a verdict: what was seen until then is kept and drawn."""
    world.clock.sleep_s(60)
    world.when("gate", partial(ended, world))
    assert try_deploy(world, world.new, CANARY)[0] not in (ExitCode.PROVED, ExitCode.USAGE)
    assert not kept(world, "gate-0.json").verdict.final
    assert "something else ended the bake" in page(world)


def test_a_person_who_stops_the_run_keeps_the_evidence(world: World) -> None:
    """D11: Ctrl-C under the gate."""

    def stop(told: Told) -> None:
        if isinstance(told, GateProgress):
            raise KeyboardInterrupt

    world.clock.sleep_s(60)
    with pytest.raises(KeyboardInterrupt):
        deploy(replace(world.site(), progress=stop), world.new, CANARY)
    assert kept(world, "gate-0.json").points["error_rate"]
    assert "something else ended the bake" in page(world)


def test_a_long_bake_keeps_what_it_has_seen_so_far(world: World) -> None:
    """D11: a machine that dies under the gate takes a minute of evidence with it, and no more; taken up, the run draws it."""
    slow = CANARY.model_copy(update={"steps": tuple(step.model_copy(update={"bake": 300.0}) for step in CANARY.steps)})
    there: list[Trace] = []

    def die(told: Told) -> None:
        if isinstance(told, GateProgress) and told.trace.verdict.elapsed_s > 70:
            there.append(kept(world, "gate-0.json"))
            world.die()

    world.clock.sleep_s(60)
    with pytest.raises(OperatorDied):
        deploy(replace(world.site(), progress=die), world.new, slow)
    world.revive()
    assert 55 < there[0].verdict.elapsed_s < 65 and not there[0].verdict.final
    assert try_resume(world)[0] == ExitCode.PROVED
    assert "something else ended the bake" in page(world)


def test_a_full_disk_hides_no_kill(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """K06: exit 12 all the same, only the evidence is lost."""

    def full(*_: object) -> None:
        raise OSError("no space left")

    world.clock.sleep_s(60)
    world.when("gate", partial(killed, world))
    monkeypatch.setattr("tradeops.deploy.judging.write_atomic", full)
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.KILLED


def test_a_run_that_is_taken_up_keeps_what_it_saw_before(world: World) -> None:
    """D10, D11: held for want of traffic, then resumed: the first bake stands beside the second, in files and on the page."""
    world.clock.sleep_s(60)
    world.when("gate", partial(world.truth["h1"].faults.add, "quiet"))
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.INCONCLUSIVE
    first = kept(world, "gate-0.json")
    world.truth["h1"].faults.clear()
    assert try_resume(world)[0] == ExitCode.PROVED
    assert kept(world, "gate-0.json") == first and first.verdict.ruling is Ruling.INCONCLUSIVE
    second = kept(world, "gate-0-session-1.json")
    assert second.verdict.ruling is Ruling.PASS and "taken up (session 1)" in second.title
    drawn = page(world)
    assert drawn.count("<section>") == 5
    assert drawn.index(first.title) < drawn.index(second.title)
