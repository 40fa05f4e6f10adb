"""A record that fills up, and a person who stops the run, in every phase: a named end, and the run can be taken up."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from tests.sim.drive import ROLLING, assert_truth, try_abort, try_deploy
from tests.sim.world import World
from tradeops.base.errors import ExitCode
from tradeops.deploy.deploy import deploy
from tradeops.deploy.site import Progress, Told

TOUCHED = ("drain", "stop", "switch", "start", "prove", "smoke", "resume", "finish")


def _undone(world: World) -> None:
    code, ending = try_abort(world)
    assert code == ExitCode.PROVED, ending
    assert_truth(world, ExitCode.BROUGHT_BACK, ending, world.old, world.new, world.pids)
    assert all(host.trading() and host.lock is None for host in world.truth.values())


@pytest.mark.parametrize("phase", ["lock", "stage"])
def test_a_log_that_fills_before_a_host_is_touched_refuses(world: World, phase: str) -> None:
    """A03: exit 9, and nothing was touched."""
    world.when(phase, partial(setattr, world.ledger, "full", True))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.REFUSED
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert all(host.lock is None for host in world.truth.values())


def test_a_run_without_a_journal_does_not_begin(world: World) -> None:
    """A03: nothing is locked, staged or touched when the run's own journal cannot be begun."""
    site = world.site()
    (site.runs / "taken").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        deploy(replace(site, new_id=lambda: "taken"), world.new, ROLLING)
    assert world.pids_now() == world.pids
    assert all(host.lock is None for host in world.truth.values())


@pytest.mark.parametrize("phase", TOUCHED)
def test_a_log_that_fills_in_mid_run_names_every_host(world: World, phase: str) -> None:
    """A03: nothing more is done than is recorded: exit 6 with every host as it is, no lock left, and abort undoes it once there is room."""
    world.when(phase, partial(setattr, world.ledger, "full", True))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.MIXED and ending is not None
    assert "cannot be recorded" in ending.title and "runs abort" in ending.next
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert all(host.lock is None for host in world.truth.values())
    world.ledger.full = False
    _undone(world)


def test_a_run_whose_end_cannot_be_noted_is_not_proved(world: World) -> None:
    """A03: every host runs the release, and no journal says so: `verify` could not tell, so this is no exit 0."""
    site = world.site()

    def told(progress: Told) -> None:
        journal = site.runs / progress.run / "journal.jsonl"
        if isinstance(progress, Progress) and progress.phase == "unlock" and journal.is_file():
            journal.unlink()
            journal.mkdir()

    ending = deploy(replace(site, progress=told), world.new, ROLLING)
    assert ending.exit_code == ExitCode.MIXED
    assert_truth(world, ending.exit_code, ending, world.old, world.new, world.pids)
    assert {host.runs() for host in world.truth.values()} == {world.new}


@pytest.mark.parametrize("phase", ["lock", "stage", *TOUCHED])
def test_a_person_may_stop_the_run_in_every_phase(world: World, phase: str) -> None:
    """Ctrl-C and SIGTERM arrive as KeyboardInterrupt: the run ends there, and abort brings every host back."""

    def stop() -> None:
        raise KeyboardInterrupt

    world.when(phase, stop)
    with pytest.raises(KeyboardInterrupt):
        try_deploy(world, world.new)
    _undone(world)
