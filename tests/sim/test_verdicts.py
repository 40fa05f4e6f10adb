"""A gate's word is final: whoever dies after it, the run goes back and the release stays rejected; nobody is called proved for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.drive import BLUE_GREEN, CANARY, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.world import OperatorDied, World
from tradeops.base.errors import ExitCode, UsageError
from tradeops.deploy.journal import END, SETBACK, list_runs
from tradeops.deploy.judging import GATE, VERDICT
from tradeops.deploy.past import past_of
from tradeops.deploy.quarantine import Quarantine

LEAVE_IT = BLUE_GREEN.model_copy(update={"on_fail": "halt"})


def phases_of(world: World) -> list[str]:
    """What the newest run has written down, in order."""
    return [entry.phase for entry in list_runs(world.site().runs)[-1].entries()]


def dead_after_the_verdict(world: World, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """The gate has failed; the operator's machine dies at the write that is named, and at no other."""
    world.bad.add(world.new)
    with monkeypatch.context() as patch:
        write = "quarantine.Quarantine.put" if last == "quarantine" else "run.note_setback"
        patch.setattr(f"tradeops.deploy.{write}", lambda *_, **__: world.die())
        with pytest.raises(OperatorDied):
            try_deploy(world, world.new, CANARY)
    world.revive()
    world.clock.sleep_s(CANARY.lease + 1)
    assert VERDICT in phases_of(world) and SETBACK not in phases_of(world)


@pytest.mark.parametrize("last", ["quarantine", "setback"])
def test_a_failed_gate_is_not_looked_at_again(world: World, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """The errors came once: nobody is to see whether they come again. Exit 4, and the release is rejected."""
    dead_after_the_verdict(world, monkeypatch, last)
    world.bad.clear()
    code, ending = try_resume(world)
    assert code == ExitCode.ROLLED_BACK, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and set(ending.causes) == {"h1"} and "error_rate" in ending.causes["h1"]
    assert phases_of(world).count(VERDICT) == 1
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.REFUSED


@pytest.mark.parametrize("last", ["quarantine", "setback"])
def test_an_aborted_run_leaves_its_release_rejected(world: World, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """Undone by a person: exit 0, and what the gate said of the release still holds."""
    dead_after_the_verdict(world, monkeypatch, last)
    code, ending = try_abort(world)
    assert (code, {host.runs() for host in world.truth.values()}) == (ExitCode.PROVED, {world.old}), ending
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.REFUSED


def test_what_a_person_lifted_is_not_rejected_again_by_the_same_run(tmp_path: Path) -> None:
    """Taking up a run says nothing new of its release; a later run does; what cannot be read is no leave."""
    quarantine = Quarantine(tmp_path)
    quarantine.put("sha256:a", run="r1", why="error_rate")
    quarantine.lift("sha256:a", by="operator-2", reason="the venue's fault")
    quarantine.put("sha256:a", run="r1", why="error_rate")
    quarantine.refuse("sha256:a")
    quarantine.put("sha256:a", run="r2", why="error_rate")
    with pytest.raises(UsageError, match="not in quarantine"):
        quarantine.lift("sha256:b", by="operator-2", reason="x")
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"{")
    quarantine.put("sha256:a", run="r2", why="error_rate")
    assert (found := quarantine.find("sha256:a")) and not found.lifted_by


def test_a_gate_that_passed_since_has_the_last_word(world: World) -> None:
    """What failed before it was carried past by a run of before: its hosts are on the release."""
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.PROVED
    journal = list_runs(world.site().runs)[-1]
    assert past_of(journal).setback is None and past_of(journal).rejected == ""
    journal.note(GATE, "begun", 0, hosts=["h1"])
    journal.note(VERDICT, "fail", 0, gate="0", why=["error_rate"])
    assert past_of(journal).rejected == "gate failed on h1: error_rate"
    journal.note("passed", "1", 0, step=0)
    assert past_of(journal).setback is None


def test_a_trial_beside_what_trades_leaves_nobody_to_look_at(world: World) -> None:
    """on_fail: halt, and no host was cut over: the standbys are ended, every host is proved on what it traded all the time."""
    world.apart.add(world.new)
    code, ending = try_deploy(world, world.new, LEAVE_IT)
    assert code == ExitCode.ROLLED_BACK, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and all(end.release == world.old and end.trading for end in ending.hosts)
    assert phases_of(world)[-1] == END


def test_a_halted_canary_is_not_all_that_is_said(world: World) -> None:
    """on_fail: halt after a cutover: exit 6; the one that is halted is named, every other host is proved on the old release."""
    world.bad.add(world.new)
    code, ending = try_deploy(world, world.new, LEAVE_IT)
    assert code == ExitCode.MIXED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and [end.host for end in ending.hosts if end.problem] == ["h1"]
    assert {end.release for end in ending.hosts if end.host != "h1"} == {world.old}
    assert try_abort(world)[0] == ExitCode.PROVED
    assert_truth(world, ExitCode.BROUGHT_BACK, None, world.old, world.new, world.pids)


def test_no_host_is_called_back_that_was_not_proved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """D01: whatever way back says that nothing is left, the ending asks for a proof of every host (exit 6)."""
    monkeypatch.setattr("tradeops.deploy.run.bring_back", lambda _crew, _condemned: {})
    code, ending = try_deploy(world, world.release(3, version="3-broken"))
    assert code == ExitCode.MIXED, ending
    assert ending and all("not proved" in end.problem for end in ending.hosts)
