"""Ends that are rarer: first deploys that fail, refusals of plan and rollback, aborts that cannot be carried through."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.drive import ACTIVATE, ROLLING, try_abort, try_deploy
from tests.sim.world import OperatorDied, World
from tradeops.base.clock import NS_PER_S, utc
from tradeops.base.errors import ExitCode, FlagConflict, PreflightFailed, Refused, UsageError
from tradeops.contracts.manifest import Flag
from tradeops.contracts.status import Mark, MarkKind
from tradeops.deploy.asked import asked, expected_hosts
from tradeops.deploy.deploy import deploy, plan
from tradeops.deploy.journal import Journal, list_runs, phase_table
from tradeops.deploy.playbook import Playbook, load_playbook
from tradeops.deploy.rollback import release_before, rollback
from tradeops.deploy.site import Progress

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
SLOW_STEPS = [{"hosts": hosts, "flow": flow, "bake": "18s"} for hosts, flow in (("1", "10%"), ("50%", None), ("100%", None))]


@pytest.mark.parametrize("name", ["rolling", "canary", "activate-flag", "rollback"])
def test_the_playbooks_that_come_with_the_tool_load(name: str) -> None:
    """Each shipped playbook is what its name says."""
    assert load_playbook(PLAYBOOKS / f"{name}.yml").name == name


def test_a_first_release_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Exit 11 on new hosts: no process, no link, no lock."""
    world = World(tmp_path)
    code, ending = try_deploy(world, world.release(1, version="1-broken"))
    assert code == ExitCode.BROUGHT_BACK
    assert ending and all(end.release is None for end in ending.hosts)
    assert all(host.process is None and host.linked is None and host.lock is None for host in world.truth.values())
    assert asked(world.site().runs) == {}


def test_the_plan_binds_the_deploy(world: World) -> None:
    """`deploy --plan` carries out that plan or nothing."""
    site = world.site()
    digest = plan(site, world.new, ROLLING).digest()
    assert plan(site, world.new, ROLLING).digest() == digest
    with pytest.raises(Refused, match="moved"):
        deploy(site, world.release(3), ROLLING, plan_digest=digest)
    assert world.pids_now() == world.pids
    assert deploy(site, world.new, ROLLING, plan_digest=digest).exit_code == ExitCode.PROVED


def test_the_plan_says_what_changes(world: World) -> None:
    """Flags, limits, new bytes, a mixed fleet and halted hosts are named before anything is done."""
    world.truth["h2"].guard.mark(Mark(MarkKind.HALT, "halt", "operator-1", "x", 0))
    world.truth["h3"].reboot()
    world.truth["h3"].slot.linked = None
    drawn = plan(world.site(), world.release(5, flags=(Flag("rlp", "m"),)), ROLLING)
    assert drawn.bytes_new == 10
    assert [note for note in drawn.notes if "mixed" in note] and [note for note in drawn.notes if "h2" in note]
    same = plan(world.site(), world.old, ROLLING)
    assert [note for note in same.notes if "started anew" in note]


def test_rollback_is_refused_while_a_live_flag_would_change_its_meaning(tmp_path: Path) -> None:
    """D13: refused before anything is touched, naming every host and the flag."""
    world = World(tmp_path)
    old = world.release(1)
    try_deploy(world, old)
    try_deploy(world, world.release(2, flags=(Flag("rlp", "m"),)))
    assert try_deploy(world, world.release(3, flags=(Flag("rlp", "m", on=True),)), ACTIVATE)[0] == ExitCode.PROVED
    pids = world.pids_now()
    with pytest.raises(FlagConflict, match="rlp") as caught:
        rollback(world.site(), old, ROLLING)
    assert "h8" in str(caught.value.where)
    assert world.pids_now() == pids
    assert all(host.lock is None for host in world.truth.values())


def test_rollback_is_refused_when_a_host_lacks_the_target(world: World) -> None:
    """The target lies whole on every host, or nobody goes back."""
    try_deploy(world, world.new)
    world.truth["h4"].releases.discard(world.old)
    with pytest.raises(Refused, match="not whole"):
        rollback(world.site(), world.old, ROLLING)


def test_there_is_nothing_to_go_back_to(world: World) -> None:
    """The only release that ever ran has none before it."""
    with pytest.raises(UsageError, match="no earlier release"):
        release_before(world.site())


def test_abort_needs_every_host(world: World) -> None:
    """An abort of a run while a host is away touches nothing; with the host back it ends proved."""
    world.when("switch", world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new)
    world.revive()
    world.truth["h7"].faults.add("ssh_refused")
    assert try_abort(world)[0] == ExitCode.PREFLIGHT
    world.truth["h7"].faults.clear()
    assert try_abort(world)[0] == ExitCode.PROVED


def test_abort_of_a_run_whose_host_another_run_holds(world: World) -> None:
    """A lock that is somebody else's now is not taken over."""
    world.when("switch", world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new)
    world.revive()
    world.truth["h6"].lock = ("other", 99, world.clock.monotonic_ns() + 10**12)
    assert try_abort(world)[0] == ExitCode.LOCKED


def test_abort_names_the_host_that_cannot_go_back(world: World) -> None:
    """One host whose old release does not start: exit 6, the others proved and trading."""
    world.when("prove", world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new)
    world.revive()
    world.truth["h1"].faults.add("does_not_start")
    code, ending = try_abort(world)
    assert code == ExitCode.MIXED
    assert ending and ending.hosts[0].host == "h1"
    assert not world.truth["h1"].trading()
    assert all(host.trading() for name, host in world.truth.items() if name != "h1")


def _kill_all(world: World) -> None:
    for host in world.truth.values():
        host.guard.mark(Mark(MarkKind.KILL, "kill-9", "operator-2", "stop", 0))
        host.fence += 1


def test_a_kill_while_hosts_are_brought_back(world: World) -> None:
    """The way back stops as well: exit 12, nobody trades."""
    broken = world.release(3, version="3-broken")
    world.when("prove", lambda: world.when("drain", lambda: _kill_all(world)))
    code, ending = try_deploy(world, broken)
    assert code == ExitCode.KILLED
    assert ending and not any(host.trading() for host in world.truth.values())


def test_a_kill_while_staging(world: World) -> None:
    """Fenced before anything was switched: exit 12."""
    world.when("stage", lambda: _kill_all(world))
    code, _ = try_deploy(world, world.new)
    assert code == ExitCode.KILLED
    assert world.pids_now() == world.pids


def test_a_kill_while_aborting(world: World) -> None:
    """An abort is fenced like any run."""
    world.when("stop", world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new)
    world.revive()
    world.when("prove", lambda: _kill_all(world))
    assert try_abort(world)[0] == ExitCode.KILLED


def test_a_bake_watches_and_smokes_again(world: World) -> None:
    """Between waves the hosts are let run and checked once more."""
    slow = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "slow", "steps": SLOW_STEPS})
    began_ns = world.clock.monotonic_ns()
    assert try_deploy(world, world.new, slow)[0] == ExitCode.PROVED
    assert world.clock.monotonic_ns() - began_ns > 54 * 10**9


def test_nothing_is_deployed_in_a_blackout(world: World) -> None:
    """Exit 9, nothing touched; a plan can be made all the same, and the way back is open."""
    always = {"blackout": [{"since": "00:00", "until": "00:00"}]}
    closed = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "closed", **always})
    assert plan(world.site(), world.new, closed).release == world.new
    assert try_deploy(world, world.new, closed)[0] == ExitCode.REFUSED
    assert world.pids_now() == world.pids
    assert try_deploy(world, world.new)[0] == ExitCode.PROVED
    assert rollback(world.site(), world.old, closed).exit_code == ExitCode.PROVED


def test_a_blackout_in_mid_run_is_waited_out_and_said_in_utc(world: World) -> None:
    """D08: the second step begins when the window is over; until when, a person can read."""
    world.clock.sleep_s(60 - world.clock.wall_ns() // NS_PER_S % 60 - 5)
    minute_ns = world.clock.wall_ns() + 5 * NS_PER_S
    since, until = (utc(at_ns)[11:16] for at_ns in (minute_ns, minute_ns + 60 * NS_PER_S))
    book = {"schema": "tradeops/playbook/v1", "name": "slow", "steps": SLOW_STEPS, "blackout": [{"since": since, "until": until}]}
    assert try_deploy(world, world.new, Playbook.model_validate(book))[0] == ExitCode.PROVED
    said = {told.detail for told in world.seen if isinstance(told, Progress) and told.phase == "blackout"}
    assert said == {f"until {utc(minute_ns + 60 * NS_PER_S)} UTC"}


def test_leases_are_renewed_while_a_run_takes_its_time(world: World) -> None:
    """A run longer than its lease keeps its locks."""
    short = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "short", "lease": "6s", "steps": SLOW_STEPS})
    assert try_deploy(world, world.new, short)[0] == ExitCode.PROVED


def test_a_stranger_under_the_host_s_address_is_not_deployed_to(world: World) -> None:
    """A host that says it is another one is refused."""
    world.truth["h2"].name = "h9"
    assert try_deploy(world, world.new)[0] == ExitCode.PREFLIGHT


def test_a_host_without_facts_is_named(world: World) -> None:
    """Preflight names the host that opened a session and then said nothing."""
    site = world.site()
    world.truth["h2"].faults.add("lost_facts")
    with pytest.raises(PreflightFailed, match="h2"):
        plan(site, world.new, ROLLING)


def test_a_host_without_a_signed_binding_is_refused(world: World) -> None:
    """No binding, no plan."""
    site = world.site()
    del site.bindings["h3"]  # type: ignore[attr-defined]  # a dict here
    with pytest.raises(Refused, match="binding"):
        plan(site, world.new, ROLLING)


def test_the_journal_tells_the_phases(world: World) -> None:
    """What a person sees of a run; an unknown one is a usage error."""
    site = world.site()
    journal = list_runs(site.runs)[-1]
    assert [row["phase"] for row in phase_table(journal)][:2] == ["lock", "lock"]
    assert Journal.find(site.runs, journal.run).plan().release == world.old
    with pytest.raises(UsageError):
        Journal.find(site.runs, "../x")
    assert set(expected_hosts(site.runs, site.releases, site.bindings, overlay=0, flags_off={})) == set(world.truth)
