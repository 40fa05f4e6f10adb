"""What bad luck gets, one kind at a time: each ends in a named state that is not 0, and can be carried on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from tests.sim.drive import BLUE_GREEN, CANARY, ROLLING, SLOW, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.mishaps import blind, cut_off, replace_by_image
from tests.sim.world import World
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode, FlagConflict, Unreachable
from tradeops.contracts.status import Status
from tradeops.deploy.rollback import rollback
from tradeops.deploy.site import GateProgress, Told
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Failed, Outcome

GOOD = {ExitCode.PROVED, ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK}
LONG: dict[str, dict[str, Any]] = {
    "bake": {"steps": (SLOW.steps[0].model_copy(update={"bake": 600.0}), *SLOW.steps[1:])},
    "warm": {"cutover": BLUE_GREEN.cutover and BLUE_GREEN.cutover.model_copy(update={"warm": 600.0})},
}
"""Waits of ten minutes."""
PHASES = ("lock", "stage", "drain", "stop", "switch", "start", "prove", "lease", "resume", "finish")


class InMidBake(list[Told]):
    """Does something once, when a gate has said how far it is."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.act: Callable[[], None] | None = act

    def append(self, told: Told) -> None:
        """A step of the run."""
        super().append(told)
        if self.act and isinstance(told, GateProgress):
            act, self.act = self.act, None
            act()


def ended(world: World, code: ExitCode) -> None:
    """Every host mended, and the run carried on to a fleet that is whole."""
    for host in world.truth.values():
        host.faults.clear()
        host.quiet_since_s = None
    world.clock.sleep_s(CANARY.lease + 1)
    if code in GOOD:
        return
    assert try_resume(world)[0] in GOOD
    assert len({host.runs() for host in world.truth.values()}) == 1
    assert all(host.lock_now() is None for host in world.truth.values())


@pytest.mark.parametrize("phase", PHASES)
def test_the_disk_of_the_last_host_fills_up(world: World, phase: str) -> None:
    """Promise 2: before the first switch, nobody is touched (3); later the fleet is taken back, or the host is named (6)."""
    world.when(phase, partial(world.truth["h8"].faults.add, "disk_full"))
    code, ending = try_deploy(world, world.new)
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert code == (ExitCode.PREFLIGHT if phase in ("lock", "stage") else ExitCode.MIXED if phase == "finish" else code)
    assert code in (ExitCode.PREFLIGHT, ExitCode.BROUGHT_BACK, ExitCode.MIXED)
    if code != ExitCode.PREFLIGHT:
        ended(world, code)


@pytest.mark.parametrize("everywhere", [False, True])
def test_traffic_stops_in_mid_bake(world: World, everywhere: bool) -> None:
    """D10: on the canary or everywhere: no verdict (5), never a pass; resumed when there is traffic again."""
    hosts = list(world.truth.values()) if everywhere else [world.truth["h1"]]
    world.seen = InMidBake(partial(blind, hosts, "quiet"))
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.INCONCLUSIVE, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    ended(world, code)


@pytest.mark.parametrize("fault", ["no_data", "stale"])
def test_the_control_group_falls_silent(world: World, fault: str) -> None:
    """D11: with nobody to be compared with, that the data is missing is a failure once it lasts (4)."""
    others = [host for name, host in world.truth.items() if name != "h1"]
    world.seen = InMidBake(partial(blind, others, fault))
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.ROLLED_BACK and ending and "cannot be judged" in str(ending.causes)
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert {host.runs() for host in world.truth.values()} == {world.old}


@pytest.mark.parametrize("how", ["dies", "image"])
def test_the_canary_host_dies_or_is_replaced_in_mid_bake(world: World, how: str) -> None:
    """Gone, or there again as it was before any run: never 0, and the canary is among those named."""
    canary = world.truth["h1"]
    world.seen = InMidBake(partial(cut_off, canary) if how == "dies" else partial(replace_by_image, canary, world.old))
    code, ending = try_deploy(world, world.new, CANARY)
    assert code in (ExitCode.INCONCLUSIVE, ExitCode.MIXED, ExitCode.LOCKED, ExitCode.BROUGHT_BACK), ending
    assert ending and "h1" in str(ending)
    ended(world, code)


def test_another_run_was_there_after_the_plan_was_made(world: World) -> None:
    """Two operators: the plan of the slower one is of a fleet that is no more: 7, and what the faster one did stands."""
    third = world.release(3)
    world.when("lock", lambda: codes.append(try_deploy(world, third)[0]))
    codes: list[ExitCode] = []
    code, ending = try_deploy(world, world.new)
    assert (codes, code) == ([ExitCode.PROVED], ExitCode.LOCKED), ending
    assert {host.runs() for host in world.truth.values()} == {third}
    assert all(host.trading() and host.lock is None for host in world.truth.values())


@pytest.mark.parametrize("phase", ["stage", "switch", "prove", "bake", "finish"])
def test_a_run_is_aborted_while_it_goes_on(world: World, phase: str) -> None:
    """Two operators: the abort has the hosts, the run ends with 7; all hosts are as before."""
    world.when(phase, lambda: codes.append(try_abort(world)[0]))
    codes: list[ExitCode] = []
    code, ending = try_deploy(world, world.new, SLOW)
    assert (codes, code) == ([ExitCode.PROVED], ExitCode.LOCKED), ending
    assert {host.runs() for host in world.truth.values()} == {world.old}
    assert all(host.trading() and host.lock is None for host in world.truth.values())


def test_a_journal_that_the_target_cannot_read_is_not_gone_back_to(world: World) -> None:
    """D13: by the rollback of a fleet that runs; nobody is touched."""
    newer = world.release(2, journal=2)
    assert try_deploy(world, newer, read=True)[0] == ExitCode.PROVED
    pids = world.pids_now()
    with pytest.raises(FlagConflict, match="journal is of version 2"):
        rollback(world.site(), world.old, ROLLING)
    assert world.pids_now() == pids


@pytest.mark.parametrize("fault", ["guard", "trader"])
@pytest.mark.parametrize("phase", ["bake", "warm"])
def test_a_host_that_falls_silent_while_the_run_waits_is_no_good_host(world: World, phase: str, fault: str) -> None:
    """Promise 1: unknown ages into a failure, half a minute later and not when the wait of ten is over."""
    book = (BLUE_GREEN if phase == "warm" else SLOW).model_copy(update=LONG[phase])
    host = world.truth["h1"]
    times: list[float] = []

    def note() -> None:
        times.append(world.clock.monotonic_ns() / NS_PER_S)

    def silent() -> None:
        note()
        world.when("regain", note)
        if fault == "guard":
            host.faults.add("guard_dead")
        else:
            host.slow_s = 1e6

    world.when(phase, silent)
    code, ending = try_deploy(world, world.new, book)
    assert code not in GOOD and ending and ending.title.startswith("bake failed on h1"), ending
    assert book.deadlines.prove <= times[1] - times[0] < book.deadlines.prove + 20


def test_a_host_that_is_heard_again_in_time_has_done_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that is restarted again and again: silences with a word in between are not one."""
    ask, away_s = world.statuses, range(0)

    def flaky(hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Status]]:
        answers, now_s = ask(hosts, deadline_s=deadline_s), world.clock.monotonic_ns() // NS_PER_S
        if now_s in away_s and now_s % 40 < 20:
            answers["h1"] = Failed(Unreachable("connection refused", where="h1"))
        return answers

    def begin() -> None:
        nonlocal away_s
        now_s = world.clock.monotonic_ns() // NS_PER_S
        away_s = range(now_s, now_s + 500)

    monkeypatch.setattr(world, "statuses", flaky)
    world.when("bake", begin)
    assert try_deploy(world, world.new, SLOW.model_copy(update=LONG["bake"]))[0] == ExitCode.PROVED
    assert away_s
