"""A canary that is halted in its bake: by its own guard, which speaks against the release; by a person, which says nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest

from tests.sim.drive import ADOPTING, BLUE_GREEN, CANARY, SLOW, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.host import SimHost
from tests.sim.mishaps import crash, halted_by_hand, trip
from tests.sim.world import OperatorDied, World
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode
from tradeops.deploy.ending import Ending
from tradeops.deploy.journal import list_runs
from tradeops.deploy.playbook import Playbook

BOOKS = {"gate": CANARY, "no gate": SLOW, "blue-green": BLUE_GREEN, "adopting": ADOPTING}
GUARDS = {"trader-dead": crash, "reconciliation": trip}
ONLY_H1 = [True, *[False] * 7]


def in_mid_bake(world: World, book: Playbook, act: Callable[[SimHost], None]) -> Callable[[], float]:
    """Do it to the canary when its first step begins to bake; how long ago that was, in seconds."""
    began_ns: list[int] = []

    def strike() -> None:
        began_ns.append(world.clock.monotonic_ns())
        act(world.truth["h1"])

    again = partial(world.when, "gate", strike) if book.cutover else strike  # the first gate is that of the standbys
    world.when("gate" if book.gate else "bake", again)
    return lambda: (world.clock.monotonic_ns() - began_ns[0]) / NS_PER_S


def brought_back(world: World, ending: Ending | None, by: str) -> None:
    """The whole fleet is proved on the old release, nobody's hands are on it, and the canary alone does not trade, by that mark."""
    assert ending and not any(end.problem for end in ending.hosts), ending
    canary, *others = (next(end for end in ending.hosts if end.host == name) for name in world.truth)
    assert canary.state == f"proved, halted by {by}: `tradeops resume --host h1 --reason TEXT`"
    assert {(end.state, end.release) for end in others} == {("proved", world.old)} and canary.release == world.old
    assert ending.title.endswith("the fleet is proved on what it ran before; 1 may not trade")
    assert [not host.trading() for host in world.truth.values()] == ONLY_H1
    assert all(host.lock is None and host.guard.at().lease is None for host in world.truth.values())
    assert [mark.by for mark in world.truth["h1"].marks] == [by], "nothing but that mark is left"


@pytest.mark.parametrize("control", GUARDS)
@pytest.mark.parametrize("book", BOOKS)
def test_the_canary_s_guard_halts_it_in_its_bake(world: World, book: str, control: str) -> None:
    """D11, D13: its trader dies, or a control trips: 4 and rejected where a gate judges, else 11; the fleet is whole, and at once."""
    playbook = BOOKS[book]
    ago_s = in_mid_bake(world, playbook, GUARDS[control])
    code, ending = try_deploy(world, world.new, playbook)
    assert code == (ExitCode.ROLLED_BACK if playbook.gate else ExitCode.BROUGHT_BACK), ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    brought_back(world, ending, control)
    assert ending and set(ending.causes) == {"h1"} and f"halt by {control}: " in ending.causes["h1"]
    assert ago_s() < 20, "nobody waits for a halt that does not end by waiting"
    assert try_abort(world)[0] == ExitCode.REFUSED, "there is nothing left to bring back"
    world.truth["h1"].guard.clear()
    again = try_deploy(world, world.new, playbook)[0]
    assert again == (ExitCode.REFUSED if playbook.gate else ExitCode.PROVED)


@pytest.mark.parametrize("book", BOOKS)
def test_a_person_halts_the_canary_in_its_bake(world: World, book: str) -> None:
    """D11: no verdict on the release: 11, and it may be deployed again as soon as the host is resumed."""
    playbook = BOOKS[book]
    ago_s = in_mid_bake(world, playbook, halted_by_hand)
    code, ending = try_deploy(world, world.new, playbook)
    assert code == ExitCode.BROUGHT_BACK, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    brought_back(world, ending, "operator-2")
    assert ending and ending.next == "mend what is named, then deploy again"
    assert ago_s() < 20
    assert world.site().quarantine.find(world.new) is None
    world.truth["h1"].guard.clear()
    assert try_deploy(world, world.new, playbook)[0] == ExitCode.PROVED


def test_what_a_guard_held_against_a_release_is_kept_as_evidence(world: World) -> None:
    """A01, D11: the verdict is on record, and drawn, with the mark as its reason."""
    in_mid_bake(world, CANARY, crash)
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.ROLLED_BACK
    folder = list_runs(world.site().runs)[-1].folder
    verdict = json.loads((folder / "gate-0.json").read_text())["verdict"]
    assert (verdict["ruling"], verdict["cause"], verdict["final"]) == ("fail", "guard", True)
    (why,) = verdict["why"]
    assert why.startswith("h1: halt by trader-dead: process ") and why in (folder / "gates.html").read_text()
    assert ("verdict", "fail") in world.ledger.rows


def test_whoever_takes_the_run_up_finds_what_the_guard_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """D11: the operator dies right after the verdict: the run goes back, the release is rejected, nothing is baked again."""
    in_mid_bake(world, CANARY, crash)
    with monkeypatch.context() as patch:
        patch.setattr("tradeops.deploy.run.note_setback", lambda *_, **__: world.die())
        with pytest.raises(OperatorDied):
            try_deploy(world, world.new, CANARY)
    world.revive()
    world.clock.sleep_s(CANARY.lease + 1)
    code, ending = try_resume(world)
    assert code == ExitCode.ROLLED_BACK, ending
    brought_back(world, ending, "trader-dead")
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.REFUSED


def test_a_halt_in_the_last_seconds_of_a_bake_passes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """D11: between two looks at marks the numbers are good enough for a pass: one more look comes before the last word."""
    monkeypatch.setattr("tradeops.deploy.judging._WATCH_S", 1e6)
    monkeypatch.setattr("tradeops.deploy.judging._FIRST_S", 1e6)
    in_mid_bake(world, CANARY, trip)
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.ROLLED_BACK, ending
    brought_back(world, ending, "reconciliation")


def test_a_release_that_is_halted_as_soon_as_it_may_trade_is_taken_back_at_once(world: World) -> None:
    """D13: a halt that the run cannot end is not waited for: 11, seconds later."""
    began_ns: list[int] = []

    def strike() -> None:
        began_ns.append(world.clock.monotonic_ns())
        trip(world.truth["h1"])

    world.when("resume", strike)
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.BROUGHT_BACK and ending and ending.title.startswith("resume failed on h1"), ending
    brought_back(world, ending, "reconciliation")
    assert (world.clock.monotonic_ns() - began_ns[0]) / NS_PER_S < 20


def test_an_old_release_that_is_halted_when_it_is_resumed_is_not_back(world: World) -> None:
    """D01: what comes after the way back speaks against what ran before: 6, and at once."""
    world.bad.add(world.new)
    world.when("gate", partial(world.when, "regain", partial(world.when, "resume", partial(trip, world.truth["h1"]))))
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.MIXED and ending, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert [(end.host, end.problem.startswith("halt by reconciliation")) for end in ending.hosts if end.problem] == [("h1", True)]
