"""Canaries under their gate: passed, failed, undecided; what follows from each is held against the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from tests.sim.drive import CANARY, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.samples import SimSource
from tests.sim.world import OperatorDied, World
from tradeops.base.errors import ExitCode, PreflightFailed, Refused, Unreachable, UsageError
from tradeops.contracts.status import MarkKind
from tradeops.deploy.deploy import plan
from tradeops.deploy.forecast import READINGS_MAX
from tradeops.deploy.journal import list_runs
from tradeops.deploy.playbook import Playbook
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Failed, Outcome
from tradeops.gates.samples import Sample
from tradeops.gates.verdict import PEERS


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Eight hosts that trade release 1; release 2 is built."""
    world = World(tmp_path)
    world.old = world.release(1)
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    world.clock.sleep_s(60)
    world.new = world.release(2)
    world.pids = world.pids_now()
    return world


def with_keys(**keys: object) -> Playbook:
    """The canary playbook with other answers."""
    return CANARY.model_copy(update=keys)


def after(then: str) -> Playbook:
    """A canary that does `then` without a verdict."""
    from tradeops.deploy.playbook import Inconclusive

    return with_keys(on_inconclusive=Inconclusive.model_validate({"then": then, "trade_on": "10m"}))


def test_a_good_canary_goes_to_all_hosts(world: World) -> None:
    """D08, D10, D11: four verdicts, evidence kept and drawn; the last step is judged beside the hosts that passed before it."""
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.PROVED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert all(host.trading() and host.guard.at().flow_cap_ppm is None and host.lock is None for host in world.truth.values())
    run = list_runs(world.site().runs)[-1]
    traces = [json.loads((run.folder / f"gate-{step}.json").read_text()) for step in range(4)]
    assert [trace["verdict"]["ruling"] for trace in traces] == ["pass"] * 4
    assert traces[3]["verdict"]["compared"] == PEERS
    assert "error_rate" in (run.folder / "gates.html").read_text()
    assert [row for row in world.ledger.rows if row[0] == "verdict"][:2] == [("verdict", "intent"), ("verdict", "pass")]


def test_the_canary_s_flow_is_capped_in_every_step(world: World) -> None:
    """D08: 5 % of the fleet's flow is 40 % of one host's of eight; 10 % is 80 %."""
    caps: list[int | None] = []

    def look(again: int) -> None:
        caps.append(world.truth["h1"].guard.at().flow_cap_ppm)
        if again:
            world.when("gate", partial(look, again - 1))

    world.when("gate", partial(look, 3))
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.PROVED
    assert caps == [400_000, 800_000, None, None]


def test_a_bad_canary_is_rolled_back_and_its_release_rejected(world: World) -> None:
    """D11, D13: exit 4, never 0; halted first, every host proved on the old release; the same release is refused until lifted."""
    world.bad.add(world.new)
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.ROLLED_BACK, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert {host.runs() for host in world.truth.values()} == {world.old}
    assert all(host.trading() and host.lock is None and host.guard.at().lease is None for host in world.truth.values())
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.REFUSED
    with pytest.raises(Refused, match=r"rejected in run .*: gate failed on h1: error_rate: "):
        plan(world.site(), world.new, CANARY)
    quarantine = world.site().quarantine
    with pytest.raises(UsageError, match="reason"):
        quarantine.lift(world.new, by="operator-2", reason=" ")
    quarantine.lift(world.new, by="operator-2", reason="the venue's fault")
    with pytest.raises(UsageError, match="not in quarantine"):
        quarantine.lift(world.new, by="operator-2", reason="again")
    world.bad.clear()
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.PROVED


def test_a_playbook_may_leave_a_failed_canary_to_a_person(world: World) -> None:
    """on_fail: halt: no order working, nothing taken back; exit 6; abort does the rest."""
    world.bad.add(world.new)
    code, ending = try_deploy(world, world.new, with_keys(on_fail="halt"))
    assert code == ExitCode.MIXED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert not world.truth["h1"].trading()
    assert world.truth["h1"].runs() == world.new
    assert try_abort(world)[0] == ExitCode.PROVED
    assert all(host.trading() and host.runs() == world.old for host in world.truth.values())


@pytest.mark.parametrize("fault", ["quiet"])
def test_a_canary_without_traffic_is_held(world: World, fault: str) -> None:
    """D10: no data is never a pass: exit 5, the canary takes no new risk, one canary at a time; resumed when traffic is back."""
    world.when("gate", partial(world.truth["h1"].faults.add, fault))
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.INCONCLUSIVE, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and "held" in ending.title
    assert MarkKind.HOLD in [mark.kind for mark in world.truth["h1"].marks]
    assert all(host.lock is None for host in world.truth.values())
    assert [name for name, host in world.truth.items() if host.trading()] == [f"h{n}" for n in range(2, 9)]
    assert try_deploy(world, world.release(3), CANARY)[0] == ExitCode.LOCKED
    world.truth["h1"].faults.clear()
    code, ending = try_resume(world)
    assert code == ExitCode.PROVED, ending
    assert all(host.trading() for host in world.truth.values())


def test_a_held_canary_that_stays_quiet_is_held_again_alone(world: World) -> None:
    """The session that takes the run up has in its hands what the one before it had, and no more: the others trade on, without a lease."""
    world.when("gate", partial(world.truth["h1"].faults.add, "quiet"))
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.INCONCLUSIVE
    world.when("gate", lambda: world.clock.sleep_s(CANARY.lease / 2))  # long enough for leases to be renewed
    code, ending = try_resume(world)
    assert code == ExitCode.INCONCLUSIVE, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    others = [host for name, host in world.truth.items() if name != "h1"]
    assert not world.truth["h1"].trading()
    assert all(host.trading() and host.guard.at().lease is None for host in others)
    assert ending and [end.host for end in ending.hosts if end.state == "not in the run's hands"] == [f"h{n}" for n in range(2, 9)]
    assert try_abort(world)[0] == ExitCode.PROVED
    assert all(host.trading() and host.runs() == world.old for host in world.truth.values())


def test_a_held_canary_is_aborted(world: World) -> None:
    """The other way out."""
    world.when("gate", partial(world.truth["h1"].faults.add, "quiet"))
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.INCONCLUSIVE
    assert try_abort(world)[0] == ExitCode.PROVED
    assert all(host.trading() and host.runs() == world.old for host in world.truth.values())


def test_a_canary_may_trade_on_for_a_while(world: World) -> None:
    """Under a signed lease that ends by itself: then its guard holds it."""
    world.when("gate", partial(world.truth["h1"].faults.add, "quiet"))
    code, ending = try_deploy(world, world.new, after("trade-on"))
    assert code == ExitCode.INCONCLUSIVE
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and "10 min" in ending.title
    assert world.truth["h1"].trading()
    world.clock.sleep_s(601)
    assert not world.truth["h1"].trading()


def test_no_verdict_may_mean_back(world: World) -> None:
    """D10: exit 11, all on the old release; want of data rejects nothing, and the release is deployed again when there is some."""
    world.when("gate", partial(world.truth["h1"].faults.add, "quiet"))
    code, ending = try_deploy(world, world.new, after("back"))
    assert code == ExitCode.BROUGHT_BACK and ending, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending.title == "no verdict on h1; the fleet is proved on what it ran before"
    assert set(ending.causes) == {"h1"} and "taken" in ending.causes["h1"]
    assert world.site().quarantine.find(world.new) is None
    world.truth["h1"].faults.clear()
    world.clock.sleep_s(60)
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.PROVED


@pytest.mark.parametrize("fault", ["no_data", "stale", "went_back", "guard_hang"])
def test_data_that_cannot_be_judged_never_promotes(world: World, fault: str) -> None:
    """D11: missing, old or impossible numbers that persist are a failure of the canary; never 0."""
    world.when("gate", partial(world.truth["h1"].faults.add, fault))
    code, ending = try_deploy(world, world.new, CANARY)
    assert code in (ExitCode.ROLLED_BACK, ExitCode.INCONCLUSIVE, ExitCode.MIXED)
    assert_truth(world, code, ending, world.old, world.new, world.pids)


def test_a_hold_that_a_guard_did_not_hear_is_said(world: World) -> None:
    """Exit 6: the host is named; its lease ends all the same."""
    world.when("gate", partial(world.truth["h1"].faults.add, "quiet"))
    world.when("hold", partial(world.truth["h1"].faults.add, "guard_dead"))
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.MIXED
    assert ending and [end.host for end in ending.hosts if end.problem] == ["h1"]
    world.clock.sleep_s(CANARY.lease + 1)
    assert not world.truth["h1"].trading()


@pytest.mark.parametrize("step", range(4))
def test_killed_under_the_gate_and_resumed(world: World, step: int) -> None:
    """Steps that passed are not baked again; the one under way is, from its beginning."""

    def die(again: int) -> None:
        world.when("gate", partial(die, again - 1)) if again else world.die()

    world.when("gate", partial(die, step))
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new, CANARY)
    world.revive()
    code, ending = try_resume(world)
    assert code == ExitCode.PROVED, ending
    assert len([row for row in world.ledger.rows if row == ("gate", "intent")]) == 4 + 1
    assert all(host.trading() and host.guard.at().lease is None for host in world.truth.values())


def test_a_gate_that_can_never_decide_is_a_mistake_in_the_plan(world: World) -> None:
    """Exit 2 before anything is touched: nobody exports it, or there is too little flow; the plan tells the time otherwise."""
    drawn = plan(world.site(), world.new, CANARY)
    assert any("a verdict after about" in line for line in drawn.outlook)
    assert drawn.digest() == plan(world.site(), world.new, CANARY).digest()
    for host in world.truth.values():
        host.faults.add("no_data")
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.USAGE
    for host in world.truth.values():
        host.faults = {"quiet"}
    assert try_deploy(world, world.new, CANARY)[0] == ExitCode.USAGE
    assert world.pids_now() == world.pids


def test_hosts_that_cannot_be_read_now_are_not_ready(world: World) -> None:
    """A trader that hangs before anything is touched: exit 3, and it is named; the playbook is not at fault."""
    world.truth["h3"].faults = {"stale"}
    with pytest.raises(PreflightFailed, match=r"h3: its process has told nothing for [\d.]+ s: it hangs") as caught:
        plan(world.site(), world.new, CANARY)
    assert caught.value.where == "h3"
    assert world.pids_now() == world.pids


@pytest.mark.parametrize("blips", [1, READINGS_MAX - 3, READINGS_MAX])
def test_a_reading_that_fails_is_waited_out(world: World, blips: int) -> None:
    """A Prometheus that starts anew is no reason to refuse; one that stays away is."""
    site, hosts = world.site(), list(world.truth)
    away: dict[str, Outcome[Sample]] = dict.fromkeys(hosts, Failed(Unreachable("Prometheus does not answer: refused")))
    left = [away] * blips

    @dataclass
    class Blinking:
        source: SimSource

        def read(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Sample]]:
            return left.pop() if left else self.source.read(hosts, deadline_s=deadline_s)

    blinking = replace(site, source=lambda spec: Blinking(world.source_of(spec)))
    if blips < READINGS_MAX:
        assert any("a verdict after about" in line for line in plan(blinking, world.new, CANARY).outlook)
    else:
        with pytest.raises(PreflightFailed, match=f"{', '.join(hosts)}: Prometheus does not answer: refused$"):
            plan(blinking, world.new, CANARY)


def test_a_first_release_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    """Absolute limits alone, and the plan says nothing of times."""
    world = World(tmp_path)
    first = world.release(1)
    assert plan(world.site(), first, CANARY).outlook == ()
    assert try_deploy(world, first, CANARY)[0] in (ExitCode.PROVED, ExitCode.INCONCLUSIVE)
