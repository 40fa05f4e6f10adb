"""A flag is disabled while a run is on: from this machine, from another, and by an overlay that is not to be believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from tests.sim.drive import ACTIVATE, BLUE_GREEN, CANARY, ROLLING, assert_truth, force_deploy, try_abort, try_deploy
from tests.sim.overlays import carried, lay, lay_from_here, off
from tests.sim.turns import dead
from tests.sim.world import World
from tradeops.base.errors import ExitCode, Refused
from tradeops.checks.proof import Expected
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.manifest import Flag
from tradeops.contracts.signature import RunKey
from tradeops.deploy.asked import expected_hosts
from tradeops.deploy.deploy import plan
from tradeops.deploy.journal import list_runs
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.rollback import rollback
from tradeops.deploy.verdict import fleet_verdict

OFF, ON = Flag("rlp-7", "m"), Flag("rlp-7", "m", on=True)
COMMON = ("stage", "prove", "finish")
IN_PLACE = ("drain", "stop", "switch", "start", "smoke", "resume")
IN_TURNS = ("switch", "prove-standby", "smoke-standby", "gate", "cutover", "smoke", "warm", "end-standby")
PHASES = [
    *((phase, ROLLING) for phase in (*COMMON, *IN_PLACE)),
    *((phase, CANARY) for phase in ("gate", "lease", "let-go")),
    *((phase, BLUE_GREEN) for phase in (*COMMON, *IN_TURNS)),
]
STRANGER = RunKey.generate()
BURIED = Overlay(OVERLAY_SCHEMA, "sim", 1, flags_retired=("rlp-7",))
TWO = msgspec.structs.replace(off(1, "rlp-7"), symbols_blocked=("AAA",))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Four hosts that trade release 1, by which the flag is on; release 2 is built."""
    world = World(tmp_path, hosts=4)
    world.old = world.release(1, flags=(ON,))
    for host in world.truth.values():
        host.runs_already(world.old)
    world.new = world.release(2, flags=(ON,))
    world.pids = world.pids_now()
    return world


def active(world: World) -> list[str]:
    """The truth: hosts on which the flag is in force."""
    return [name for name, host in world.truth.items() if (identity := host.identity().identity) and "rlp-7" in identity.flags]


@pytest.mark.parametrize(("phase", "book"), [("smoke", ROLLING), ("warm", BLUE_GREEN), ("gate", BLUE_GREEN)])
def test_a_flag_that_is_disabled_from_here_is_no_setback(world: World, phase: str, book: Playbook) -> None:
    """D06: what tightens is proved as it is in force now, not as it was when the run began; the release stays, the flag is off."""
    world.when(phase, lambda: lay_from_here(world, off(1, "rlp-7")))
    assert try_deploy(world, world.new, book)[0] == ExitCode.PROVED
    assert ({host.runs() for host in world.truth.values()}, active(world)) == ({world.new}, [])


@pytest.mark.parametrize(("phase", "book"), PHASES, ids=lambda of: of if isinstance(of, str) else of.name)
def test_a_flag_that_another_operator_disables_is_no_setback(world: World, phase: str, book: Playbook) -> None:
    """D06, A01: whenever it comes, it is read from the hosts, verified, and on record with whoever signed it before it counts."""
    world.when(phase, lambda: lay(world, off(1, "rlp-7"), world.key))
    code, ending = try_deploy(world, world.new, book)
    assert not world.hooks, "the phase never came"
    assert (code, active(world)) == (ExitCode.PROVED, []), ending
    assert_truth(world, code, ending, world.old, world.new, world.pids)
    assert world.overlay and world.overlay[1] == off(1, "rlp-7")
    noted = [entry for entry in list_runs(world.site().runs)[-1].entries() if entry.phase == "overlay"]
    assert [(entry.detail["number"], entry.detail["signed_by"]) for entry in noted] == [(1, ["operator-1"])]
    assert world.ledger.rows.count(("overlay", "taken over")) == 1


@pytest.mark.parametrize(
    ("known", "forge", "said"),
    [
        (None, lambda _: (off(1, "rlp-7"), STRANGER), "no key of policy 1 signed this"),
        (None, lambda _: (off(1, "rlp-7"),), "there is no signature"),
        (TWO, lambda world: (off(2, "rlp-7"), world.key), "would loosen symbol AAA"),
        (TWO, lambda world: (msgspec.structs.replace(TWO, number=2, flags_off={}), world.key), "would loosen flag rlp-7"),
        (None, lambda world: (msgspec.structs.replace(off(1, "rlp-7"), fleet="other"), world.key), "for fleet 'other'"),
    ],
    ids=["forged", "unsigned", "looser", "back on", "another fleet's"],
)
def test_what_cannot_be_believed_is_drift(
    world: World, known: Overlay | None, forge: Callable[[World], tuple[Overlay, RunKey]], said: str
) -> None:
    """D02: nothing that a host says by itself changes what it is held against; who plans next is told which, and why."""
    if known:
        lay_from_here(world, known)
    before = world.overlay
    world.when("smoke", lambda: lay(world, *forge(world)))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.MIXED
    assert ending and any(said in cause for cause in ending.causes.values())
    assert world.overlay == before
    with pytest.raises(Refused, match=said):
        plan(world.site(), world.new, ROLLING)


def test_a_host_that_reports_a_higher_number_than_it_holds_is_drift(world: World) -> None:
    """A07: overlay 1 comes again as number 9; what counts is what was signed."""
    lay_from_here(world, off(1, "rlp-7"))

    def lie() -> None:
        world.truth["h3"].overlay = 9

    world.when("smoke", lie)
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.MIXED
    assert ending and "is overlay 1, and 1 is known" in ending.causes["h3"]


def test_an_overlay_that_tightens_the_one_known_here_is_believed(world: World) -> None:
    """D06, A01: a second operator blocks a symbol on top of our overlay; ours stays in force with it."""
    lay_from_here(world, off(1, "rlp-7"))
    world.when("smoke", lambda: lay(world, msgspec.structs.replace(TWO, number=2), world.key))
    assert try_deploy(world, world.new)[0] == ExitCode.PROVED
    assert active(world) == [] and world.overlay and world.overlay[1].number == 2


def test_two_overlays_of_one_number_are_drift(world: World) -> None:
    """Two people tightened at once, each on other hosts: neither is what the fleet was asked for."""

    def lay_both() -> None:
        lay(world, off(1, "rlp-7"), world.key)
        for name in ("h1", "h2"):
            world.truth[name].overlay_kept = carried(off(1, "other"), world.key)

    world.when("smoke", lay_both)
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.MIXED
    assert ending and any("several overlays of the number 1" in cause for cause in ending.causes.values())


def test_an_older_overlay_than_the_one_here_is_drift(world: World) -> None:
    """A07: hosts that have lost the newest are not what they should be, however well the older one is signed."""
    lay_from_here(world, off(1, "rlp-7"))
    lay_from_here(world, off(2, "rlp-7"))

    def lose() -> None:
        world.truth["h3"].overlay = 1

    world.when("finish", lose)
    assert try_deploy(world, world.new)[0] == ExitCode.BROUGHT_BACK


def test_a_machine_without_the_file_plans_verifies_and_deploys_by_what_hosts_hold(world: World) -> None:
    """Reading keeps nothing; a run keeps it, on record, before it touches anything."""
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    lay(world, off(4, "rlp-7"), world.key)
    drawn = plan(world.site(), world.new, ROLLING)
    assert (drawn.overlay, world.overlay) == (4, None)
    site = world.site()

    def expected(reported: Mapping[str, int]) -> Mapping[str, Expected]:
        site.overlays.hear(site.hosts, reported, deadline_s=2.0)
        return expected_hosts(site.runs, site.releases, site.bindings, overlay=site.overlay_number, flags_off=site.flags_off)

    assert fleet_verdict(site.hosts, expected, world, world, site.fan_out, timeout_s=2.0, control_s=2.0).exit_code() == ExitCode.PROVED
    assert try_deploy(world, world.new, read=True)[0] == ExitCode.PROVED
    assert world.overlay and world.overlay[1].number == 4


def test_going_back_is_safe_once_another_operator_has_turned_the_flag_off(tmp_path: Path) -> None:
    """D13: the flag is live and means nothing to the old release; whoever disables it, from wherever, opens the way back."""
    world = World(tmp_path, hosts=4)
    old, new = world.release(1), world.release(2, flags=(ON,))
    assert try_deploy(world, old)[0] == ExitCode.PROVED
    world.truth["h4"].faults.add("feed_dead")
    world.when("whole", lambda: pytest.fail("it went back before anybody had turned the flag off"))
    assert force_deploy(world, new).exit_code == ExitCode.MIXED
    world.hooks.clear()
    lay(world, off(1, "rlp-7"), world.key)
    code, ending = try_abort(world)
    assert (code, {host.runs() for host in world.truth.values()}) == (ExitCode.PROVED, {old}), ending


def test_the_way_back_opens_in_the_middle_of_it(tmp_path: Path) -> None:
    """D13: the same, laid after the run had begun to go back."""
    world = World(tmp_path, hosts=4)
    old, new = world.release(1), world.release(2, flags=(ON,))
    assert try_deploy(world, old)[0] == ExitCode.PROVED
    world.truth["h4"].faults.add("feed_dead")
    world.when("regain", lambda: lay(world, off(1, "rlp-7"), world.key))
    assert force_deploy(world, new).exit_code == ExitCode.BROUGHT_BACK
    assert {host.runs() for host in world.truth.values()} == {old}


def test_a_flag_that_is_disabled_in_the_middle_of_its_activation_stays_off(tmp_path: Path) -> None:
    """D06: the run does not end well, and turns nothing on again: every host is proved on what it ran, with the flag off."""
    world = World(tmp_path, hosts=4)
    world.old = world.release(1, flags=(OFF,))
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    world.new = world.release(2, flags=(ON,))
    world.when("exercise", lambda: lay(world, off(1, "rlp-7"), world.key))
    code, ending = try_deploy(world, world.new, ACTIVATE)
    assert (code, active(world)) == (ExitCode.BROUGHT_BACK, []), ending
    assert {host.runs() for host in world.truth.values()} == {world.old}


def test_no_token_goes_back_to_a_slot_with_a_tombstone(world: World) -> None:
    """D05, D13: another operator retired the flag while the old slots were warm: rollback touches nothing, and abort, which stops what
    the run brought, names every host.
    """
    world.new = world.release(3)
    dead(world, "end-standby")
    lay(world, BURIED, world.key)
    pids = world.pids_now()
    with pytest.raises(Refused, match="carries what is retired on this fleet: flag rlp-7"):
        rollback(world.site(), world.old, ROLLING)
    assert (world.pids_now(), {host.trading() for host in world.truth.values()}) == (pids, {True})
    code, ending = try_abort(world)
    assert code == ExitCode.MIXED and ending
    assert all("rlp-7 is retired on this fleet" in host.problem for host in ending.hosts)
    assert not any(host.trading() for host in world.truth.values())


def test_a_way_back_to_a_tombstone_is_none(world: World) -> None:
    """D05, D13: the fleet runs what is retired, and so does not trade: the way out is forward, by the digest of a plan that says so."""
    lay_from_here(world, BURIED)
    new = world.release(3)
    assert all("rlp-7 is retired on this fleet" in risk for risk in plan(world.site(), new, ROLLING).risks)
    assert try_deploy(world, new)[0] == ExitCode.REFUSED
    assert try_deploy(world, new, read=True)[0] == ExitCode.PROVED
