"""A kill from a machine whose roster is old: hosts that only a newer one names are killed too, or it says that they may be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.drive import try_deploy
from tests.sim.world import FLEET, World, make_host
from tradeops.base.errors import ExitCode
from tradeops.contracts.directive import ALL_HOSTS, Scope, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.policy import SCHEMA as POLICY_SCHEMA
from tradeops.contracts.policy import Person, Policy
from tradeops.contracts.signature import RunKey, Signer
from tradeops.fleet.roster import build_roster, sign_roster
from tradeops.safety.directives import compose, sign
from tradeops.safety.kill import KillReport, Roads, kill
from tradeops.safety.muster import Muster

KNOWN = 3
"""Hosts h1 to h3 are in the fleet file here; the others are not."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Five hosts that trade; roster 1 is everywhere."""
    world = World(tmp_path, hosts=5)
    assert try_deploy(world, world.release(1))[0] == ExitCode.PROVED
    return world


def roster(number: int, *names: str, signer: Signer) -> Envelope:
    """A signed roster of these hosts."""
    return sign_roster(build_roster(FLEET, [make_host(name) for name in names], number), signer)


def keep(world: World, host: str, number: int, *names: str, signer: Signer | None = None) -> None:
    """Leave a roster with a host."""
    world.truth[host].roster_number = number
    world.truth[host].roster = roster(number, *names, signer=signer or world.key)


def strike(world: World, *, muster: bool = True, scope: Scope = Scope(), deadline_s: float = 5.0) -> KillReport:
    """Kill the hosts that are known here."""
    site = world.site()
    policy = Policy(POLICY_SCHEMA, FLEET, 1, (Person("operator-1", (world.key.public_line,), ("boss",)),), {"boss": ("roster",)})
    directive = compose(Verb.KILL, id=world.new_id(), fleet=FLEET, hosts=(ALL_HOSTS,), reason="drill", now_ns=0, scope=scope)
    roads = Roads(site.controls, site.agents, site.fan_out, site.clock, None, Muster(policy, 1) if muster else None)
    envelope, whole = sign(directive, world.key), scope.everything()
    return kill(roads, site.hosts[:KNOWN], envelope, directive.id, deadline_s=deadline_s, told=lambda _: None, whole_host=whole)


def told(report: KillReport) -> set[str]:
    """Every host that the report accounts for."""
    return {host.host for host in report.hosts}


def test_hosts_that_a_newer_roster_names_are_killed_and_told(world: World) -> None:
    """K04: one host knows of two more than we do: both are blocked and clear, and it is said where they came from."""
    keep(world, "h2", 2, "h1", "h2", "h3", "h4", "h5")
    report = strike(world)
    assert report.exit_code == ExitCode.PROVED
    assert report.found == {"h4": "roster 2 of h2", "h5": "roster 2 of h2"}
    assert told(report) == set(world.truth)
    assert not any(host.trading() for host in world.truth.values())


def test_a_found_host_that_no_road_reaches_is_named(world: World) -> None:
    """Promise 3: never better than the truth."""
    keep(world, "h2", 2, "h1", "h2", "h3", "h4")
    world.truth["h4"].faults.add("ssh_hang")
    report = strike(world)
    assert report.exit_code == ExitCode.KILL_INCOMPLETE
    assert report.hosts[0].host == "h4"
    assert report.hosts[0].blocked_ms is None


def test_a_found_host_may_know_of_further_ones(world: World) -> None:
    """Each newer roster is followed, and no host is killed on two boards."""
    keep(world, "h2", 2, "h1", "h2", "h3", "h4")
    keep(world, "h4", 3, "h1", "h2", "h3", "h4", "h5")
    report = strike(world)
    assert report.exit_code == ExitCode.PROVED
    assert report.found == {"h4": "roster 2 of h2", "h5": "roster 3 of h4"}
    assert sorted(host.host for host in report.hosts) == sorted(world.truth)


def test_without_guards_the_roster_comes_over_ssh(world: World) -> None:
    """K04: no guard of the known hosts answers; their agents do, and the further host is found all the same."""
    for host in ("h1", "h2", "h3"):
        world.truth[host].faults.add("guard_dead")
    keep(world, "h3", 2, "h1", "h2", "h3", "h5")
    report = strike(world)
    assert report.found == {"h5": "roster 2 of h3"}
    assert not world.truth["h5"].trading()


@pytest.mark.parametrize(("faults", "words"), [((), "no key of policy"), (("guard_dead",), "no key of policy")])
def test_a_newer_roster_that_nobody_entitled_signed_makes_the_kill_incomplete(world: World, faults: tuple[str, ...], words: str) -> None:
    """A05: it is not believed, and not passed over: hosts may be missing."""
    keep(world, "h2", 2, "h1", "h2", "h3", "h4", signer=RunKey.generate())
    world.truth["h2"].faults.update(faults)
    report = strike(world)
    assert report.exit_code == ExitCode.KILL_INCOMPLETE
    assert "kept by h2, and cannot be had" in report.unread
    assert words in report.unread
    assert told(report) == {"h1", "h2", "h3"}


def test_a_number_without_a_roster_is_unread(world: World) -> None:
    """A host that claims a newer roster and has none to show, or an older one."""
    world.truth["h1"].roster_number = 9
    assert "it keeps no roster" in strike(world).unread
    world.truth["h1"].roster = roster(1, "h1", signer=world.key)
    assert "keeps roster 1 after all" in strike(world).unread


def test_hosts_that_were_named_are_all_that_is_meant(world: World) -> None:
    """Without --all nobody else is looked for; a scoped kill of all hosts does look."""
    keep(world, "h2", 2, "h1", "h2", "h3", "h4")
    assert strike(world, muster=False).found == {}
    assert world.truth["h4"].trading()
    assert set(strike(world, scope=Scope(symbols=("AAA",))).found) == {"h4"}


def test_a_newer_roster_with_the_same_hosts_finds_nobody(world: World) -> None:
    """A number alone changes nothing."""
    keep(world, "h2", 2, "h1", "h2", "h3")
    report = strike(world)
    assert (report.exit_code, report.found, report.unread) == (ExitCode.PROVED, {}, "")
