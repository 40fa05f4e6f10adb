"""Two slots that take turns: whole runs of real deploy code, with the faults of every phase held against the truth."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from tests.sim.drive import BLUE_GREEN, ROLLING, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.host import SimHost
from tests.sim.traffic import SimTraffic
from tests.sim.turns import NEW_SLOT, OLD_SLOT, dead, whole
from tests.sim.world import World
from tradeops.base.errors import ExitCode, UsageError
from tradeops.checks.finding import open_findings
from tradeops.contracts.status import Mark, MarkKind
from tradeops.deploy.asked import expected_hosts
from tradeops.deploy.deploy import plan
from tradeops.deploy.journal import ending_of, list_runs
from tradeops.deploy.rollback import release_before, rollback
from tradeops.deploy.verdict import fleet_verdict

PHASES = (
    *("stop", "switch", "start", "prove-standby", "smoke-standby", "gate", "cutover", "prove", "smoke", "lease", "resume"),
    *("let-go", "warm", "end-standby", "finish"),
)


def frozen(host: SimHost) -> None:
    """Its writer acknowledges nothing any more."""
    host.faults.add("trader_hung")


def test_the_other_slot_takes_over_and_back(world: World) -> None:
    """O09, D10: beside, tried, cut over, kept warm, ended; the next takes the first slot again, and a rolling deploy stays where it is."""
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.PROVED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    whole(world, world.new, NEW_SLOT)
    phases = [verb for verb, kind in world.ledger.rows if kind == "intent"]
    phases = phases[len(phases) - phases[::-1].index("lock") :]
    assert phases.index("gate") < phases.index("cutover") < phases.index("warm") < phases.index("end-standby") < phases.index("finish")
    assert "drain" not in phases[phases.index("gate") :]
    run = list_runs(world.site().runs)[-1]
    assert (run.folder / "gate-shadow.json").exists() and "error_rate" in (run.folder / "gates.html").read_text()
    third, fourth = world.release(3), world.release(4)
    assert try_deploy(world, third, ROLLING)[0] == ExitCode.PROVED
    whole(world, third, NEW_SLOT)
    assert try_deploy(world, fourth, BLUE_GREEN)[0] == ExitCode.PROVED
    whole(world, fourth, OLD_SLOT)
    assert {host.guard.state.token for host in world.truth.values()} == {2}


def test_each_host_goes_by_its_own_slot(world: World) -> None:
    """A host that is in the other slot, as after a replacement, is no obstacle: the plan says which is idle where."""
    assert try_deploy(world, world.new, BLUE_GREEN)[0] == ExitCode.PROVED
    fresh = world.truth["h3"]
    fresh.end_all()
    fresh.guard.state = type(fresh.guard.state)(permit=fresh.guard.state.permit)
    fresh.runs_already(world.new)
    drawn = plan(world.site(), third := world.release(3), BLUE_GREEN)
    assert {part.host: part.slot for part in drawn.hosts if part.slot == NEW_SLOT} == {"h3": NEW_SLOT}
    assert try_deploy(world, third, BLUE_GREEN)[0] == ExitCode.PROVED
    assert {name for name, host in world.truth.items() if host.active == NEW_SLOT} == {"h3"}
    assert {host.runs() for host in world.truth.values()} == {third}


def test_a_release_that_decides_otherwise_never_trades(world: World) -> None:
    """D10: differences to the slot that trades are counted; exit 4, the standbys ended, not one process that traded was touched."""
    world.apart.add(world.new)
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.ROLLED_BACK, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert world.pids_now() == world.pids
    whole(world, world.old, OLD_SLOT)
    assert try_deploy(world, world.new, BLUE_GREEN)[0] == ExitCode.REFUSED


def of_standbys(world: World, **gate: object) -> list[str]:
    """What a plan says of the standbys' gate, where there is no other."""
    cutover = BLUE_GREEN.cutover or pytest.fail()
    shadow = cutover.shadow.model_copy(update={"gate": cutover.shadow.gate.model_copy(update=gate)})
    book = BLUE_GREEN.model_copy(update={"gate": None, "cutover": cutover.model_copy(update={"shadow": shadow})})
    return list(plan(world.site(), world.new, book).outlook)


def test_the_plan_says_when_the_standbys_will_have_decided(world: World) -> None:
    """D10: by what the slot that trades decides now; a gate that never can is a mistake in the plan, or an explicit choice."""
    assert of_standbys(world) == ["gate of the standbys: a verdict after about 10 s at the current rate"]
    for fault, said in (("quiet", "tradeops_decisions_total does not rise"), ("no_data", "exports none of the series")):
        for host in world.truth.values():
            host.faults = {fault}
        with pytest.raises(UsageError, match=said):
            of_standbys(world)
        (held,) = of_standbys(world, undecided="hold")
        assert held.startswith("gate of the standbys: no verdict at the current rate") and said in held


@pytest.mark.parametrize("then", [try_resume, try_abort])
def test_a_bake_beside_without_decisions_is_no_pass(world: World, then: object) -> None:
    """D10: exit 5, nothing was cut over, everybody trades; carried on when there are decisions, or undone."""
    for host in world.truth.values():
        world.when("gate", partial(host.faults.add, "quiet"))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.INCONCLUSIVE, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and "no host was cut over" in ending.title
    assert all(host.trading() and host.active == OLD_SLOT and not host.guard.at().lease for host in world.truth.values())
    for host in world.truth.values():
        host.faults.clear()
    code, ending = (try_resume if then is try_resume else try_abort)(world)
    assert code == ExitCode.PROVED, ending
    whole(world, *((world.new, NEW_SLOT) if then is try_resume else (world.old, OLD_SLOT)))


def test_a_failed_gate_gives_the_token_back_at_once(world: World) -> None:
    """D11, D13: exit 4, proved in the old slot, whose process has run all the time."""
    world.bad.add(world.new)
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.ROLLED_BACK, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert world.pids_now() == world.pids
    whole(world, world.old, OLD_SLOT)
    assert {host.beside.linked for host in world.truth.values()} == {None}


def test_an_old_slot_that_is_cold_is_started_before_it_takes_over_again(world: World) -> None:
    """Its standby died meanwhile: nobody trades on the host until it stands by again, and then it does."""
    world.bad.add(world.new)
    world.when("gate", partial(world.when, "gate", partial(setattr, world.truth["h1"].slots[OLD_SLOT], "process", None)))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.ROLLED_BACK, ending
    whole(world, world.old, OLD_SLOT)
    assert {name for name, pid in world.pids_now().items() if pid != world.pids[name]} == {"h1"}


def test_a_standby_that_dies_ends_the_trial(world: World) -> None:
    """Exit 11: nothing traded otherwise."""
    world.when("gate", partial(setattr, world.truth["h6"].slots[NEW_SLOT], "process", None))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code in (ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK), ending
    assert ending and "h6" in ending.causes
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    whole(world, world.old, OLD_SLOT)


def test_a_slot_that_cannot_be_stood_down_is_never_succeeded(world: World) -> None:
    """O09: a frozen writer: the guard refuses the token either way; the host is named, trades nowhere, and is undone when it thaws."""
    world.when("cutover", partial(frozen, world.truth["h1"]))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.MIXED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert ending and ending.hosts[0].host == "h1" and ending.hosts[0].problem
    assert not world.truth["h1"].trading() and MarkKind.STANDBY in [mark.kind for mark in world.truth["h1"].marks]
    assert try_deploy(world, world.new, ROLLING)[0] == ExitCode.REFUSED
    world.truth["h1"].faults.clear()
    world.truth["h1"].turn()
    assert try_abort(world)[0] == ExitCode.PROVED
    whole(world, world.old, OLD_SLOT)


@pytest.mark.parametrize("phase", ["cutover", "prove", "gate", "warm"])
def test_a_host_that_dies_at_or_after_its_cutover(world: World, phase: str) -> None:
    """Both of its slots are gone, or it has rebooted into nothing: the others are proved, and it is too or is named."""

    def reboot() -> None:
        world.truth["h1"].reboot()
        world.truth["h1"].lock = None

    world.when("cutover", reboot if phase == "cutover" else partial(world.when, phase, reboot))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code in (ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK, ExitCode.MIXED), ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    if code == ExitCode.MIXED:
        assert try_abort(world)[0] == ExitCode.PROVED
    whole(world, world.old, OLD_SLOT)


@pytest.mark.parametrize("lost", ["standby", "activate"])
def test_a_lost_answer_to_a_cutover_is_read_back(world: World, lost: str) -> None:
    """O09: the host has done it, or has not; it is not said twice."""
    world.replies_lost.add(lost)
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.PROVED, ending
    whole(world, world.new, NEW_SLOT)
    assert {host.guard.state.token for host in world.truth.values()} == {1}


@pytest.mark.parametrize("then", [try_resume, try_abort])
@pytest.mark.parametrize("phase", PHASES)
def test_killed_anywhere_and_taken_up(world: World, phase: str, then: object) -> None:
    """Whoever takes it up reaches the end that it would have reached, or undoes it: one slot everywhere, nothing left over."""
    dead(world, phase, after=1 if phase in ("cutover", "prove", "smoke") else 0)
    world.clock.sleep_s(BLUE_GREEN.lease + 1)
    code, ending = (try_resume if then is try_resume else try_abort)(world)
    assert code == ExitCode.PROVED, ending
    whole(world, *((world.new, NEW_SLOT) if then is try_resume else (world.old, OLD_SLOT)))


@pytest.mark.parametrize("phase", ["prove-standby", "gate", "cutover", "resume", "warm", "end-standby"])
def test_a_twin_activates_nothing(world: World, phase: str) -> None:
    """O09: a run that was taken up elsewhere while it stood still is refused; the other one's end stands, token and all."""
    ends = []
    world.when(phase, lambda: ends.append(try_resume(world)))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert [end[0] for end in ends] == [ExitCode.PROVED]
    assert code == ExitCode.LOCKED and ending and "replaced" in ending.title
    whole(world, world.new, NEW_SLOT)
    assert ending_of(list_runs(world.site().runs)[-1]).startswith("every one of 8 hosts proved")


@pytest.mark.parametrize("alive", [True, False])
def test_a_rollback_while_the_old_slot_is_warm_is_a_cutover(world: World, alive: bool) -> None:
    """The very processes trade again, also beside a run that still waits, which then ends replaced. No release is named for it."""
    codes: list[ExitCode] = []

    def back() -> None:
        site = world.site()
        codes.append(rollback(site, release_before(site), ROLLING).exit_code)

    if alive:
        world.when("end-standby", back)
        code, ending = try_deploy(world, world.new, BLUE_GREEN)
        assert code == ExitCode.LOCKED and ending and "replaced" in ending.title
    else:
        dead(world, "end-standby")
        back()
    assert codes == [ExitCode.PROVED]
    assert world.pids_now() == world.pids
    whole(world, world.old, OLD_SLOT)


def test_a_declared_standby_is_no_drift(world: World) -> None:
    """O09: beside what trades, and what its slot leads to; anything else there is named, and so is a host in the other slot."""
    verdicts: list[dict[str, list[str]]] = []

    def look() -> None:
        site = world.site()
        expected = expected_hosts(site.runs, site.releases, site.bindings, overlay=0, flags_off={})
        verdict = fleet_verdict(site.hosts, lambda _: expected, world, world, site.fan_out, timeout_s=2.0, control_s=2.0)
        verdicts.append({name: [finding.check for finding in open_findings(found)] for name, found in verdict.findings.items()})

    world.when("gate", look)
    world.when("end-standby", look)  # the old slots are warm
    assert try_deploy(world, world.new, BLUE_GREEN)[0] == ExitCode.PROVED
    look()
    assert [set(map(tuple, verdict.values())) for verdict in verdicts] == [{()}, {()}, {()}]
    world.truth["h2"].stands_by_too(world.old)
    world.truth["h2"].beside.linked = world.new
    world.truth["h3"].guard.state = replace(world.truth["h3"].guard.state, active=OLD_SLOT)
    look()
    assert verdicts[-1]["h2"] == ["standby"] and "linked release" in verdicts[-1]["h3"] and verdicts[-1]["h1"] == []


def test_a_rollback_when_the_old_slot_has_cooled_down_is_an_ordinary_one(world: World) -> None:
    """In the slot that trades now."""
    assert try_deploy(world, world.new, BLUE_GREEN)[0] == ExitCode.PROVED
    site = world.site()
    assert rollback(site, release_before(site), ROLLING).exit_code == ExitCode.PROVED
    whole(world, world.old, NEW_SLOT)


def test_a_standby_that_was_left_is_ended_by_the_next_run(world: World) -> None:
    """A run that died beside warm slots, and whose release stays: what comes next leaves nothing beside what trades."""
    dead(world, "warm")
    world.clock.sleep_s(BLUE_GREEN.lease + 1)
    third = world.release(3)
    assert try_deploy(world, third, ROLLING)[0] == ExitCode.PROVED
    whole(world, third, NEW_SLOT)


def test_the_warm_time_goes_on_while_nobody_is_there(world: World) -> None:
    """Taken up after it: what stood by is ended at once."""
    dead(world, "end-standby")
    began_ns = world.clock.monotonic_ns()
    assert try_resume(world)[0] == ExitCode.PROVED
    assert world.clock.monotonic_ns() - began_ns < 30e9
    whole(world, world.new, NEW_SLOT)


@pytest.mark.parametrize("phase", ["cutover", "gate", "warm"])
def test_a_kill_stops_a_cutover_where_it_is(world: World, phase: str) -> None:
    """K03: exit 12, nobody trades; after a permit the run is undone."""

    def kill() -> None:
        for host in world.truth.values():
            host.guard.mark(Mark(MarkKind.KILL, "kill-1", "operator-2", "stop", 0))

    world.when("cutover", kill if phase == "cutover" else partial(world.when, phase, kill))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.KILLED, ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert not any(host.trading() for host in world.truth.values())
    for host in world.truth.values():
        host.guard.clear_kills()
    assert try_abort(world)[0] == ExitCode.PROVED
    whole(world, world.old, OLD_SLOT)


def test_what_came_over_a_flag_that_the_old_release_takes_for_another_stays_stood_down(world: World) -> None:
    """D13: going back would re-arm an old meaning: the host trades in neither slot, and is named."""
    world.bad.add(world.new)

    def clash() -> None:
        built = world.manifests[world.new]
        world.manifests[world.new] = replace(built, predicate=replace(built.predicate, journal_writes=9))

    world.when("gate", partial(world.when, "gate", clash))
    code, ending = try_deploy(world, world.new, BLUE_GREEN)
    assert code == ExitCode.MIXED, ending
    assert ending and [end.host for end in ending.hosts if end.problem] == ["h1"]
    assert not world.truth["h1"].trading() and not world.truth["h1"].writers()


def test_traffic_moves_with_the_cutover(world: World) -> None:
    """Each host is drained at every proxy before its token goes over and gets its traffic again when it is proved."""
    world.traffic = traffic = SimTraffic(world.truth, world.clock)
    drained: list[str] = []
    world.when("cutover", lambda: drained.extend(share.mode for share in traffic.read(["h1"])))
    assert try_deploy(world, world.new, BLUE_GREEN)[0] == ExitCode.PROVED
    assert set(drained) == {"drain"}
    assert {share.mode for share in traffic.read(list(world.truth))} == {"ready"}
    assert {share.weight for share in traffic.read(list(world.truth))} == {100}
